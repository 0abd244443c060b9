// The rules: which statements and functions leave something in a session, and what a stored body can hide.
#include "protocol/postgres/session_judge.hpp"

#include <algorithm>
#include <utility>

#include "protocol/postgres/builtin_functions.hpp"
#include "protocol/postgres/parse_tree.hpp"
#include "protocol/postgres/text_lexer.hpp"

namespace holdfast::postgres {
namespace {

constexpr std::size_t names_max = 256;
constexpr std::size_t rounds_max = 16;
constexpr std::int64_t cursor_with_hold = 0x20;  // CURSOR_OPT_HOLD of parsenodes.h
constexpr std::int64_t on_commit_drop = 4;       // ONCOMMIT_DROP of pg_query.proto
constexpr std::int64_t set_multi = 4;            // VAR_SET_MULTI of pg_query.proto: SET TRANSACTION and the like

/// Syntax of versions after 15 that its grammar takes for a call.
bool is_newer_syntax(std::string_view name) {
  for (const std::string_view syntax : {"json_array", "json_arrayagg", "json_objectagg", "json_scalar", "json_serialize",
                                        "json_exists", "json_value", "json_query", "merge_action"}) {
    if (name == syntax) return true;
  }
  return false;
}

std::string_view reason_of(BuiltinEffect effect) {
  switch (effect) {
    case BuiltinEffect::setting: return "setting";
    case BuiltinEffect::random_seed: return "random_seed";
    case BuiltinEffect::advisory_lock: return "advisory_lock";
    case BuiltinEffect::sequence_read: return "sequence_value";
    case BuiltinEffect::connection: case BuiltinEffect::replication: return "extension_state";
    default: return "unconfirmed_state";
  }
}

std::string written(const QualifiedName& name) {
  return name.schema.empty() ? name.name : name.schema + '.' + name.name;
}

/// set_config(…, …, true).
bool sets_for_transaction(const TreeNode& call) {
  const auto parts = call.strings("funcname");
  if (parts.empty() || parts.back() != "set_config" || (parts.size() > 1 && parts[parts.size() - 2] != "pg_catalog")) {
    return false;
  }
  const auto arguments = call.children("args");
  return arguments.size() == 3 && arguments[2].is("A_Const") && arguments[2].child("boolval").number("boolval") != 0;
}

struct Finding {
  std::string_view reason, what;
};

/// What the statement of this node does to its session by itself.
std::optional<Finding> effect_of(const TreeNode& node, bool alone) {
  const auto type = node.type();
  if (type == "VariableSetStmt") {
    const bool local = node.number("is_local") != 0 ||
                       (node.number("kind") == set_multi && node.text("name") != "SESSION CHARACTERISTICS");
    return local ? std::nullopt : std::optional<Finding>({"setting", "a SET or RESET among other statements"});
  }
  if (type == "ListenStmt" || type == "UnlistenStmt") return Finding{"unconfirmed_state", "a LISTEN or UNLISTEN"};
  if (type == "DiscardStmt") return Finding{"unconfirmed_state", "a DISCARD"};
  if (type == "LoadStmt") return Finding{"extension_state", "a LOAD"};
  if ((type == "PrepareStmt" || type == "DeallocateStmt") && !alone) {
    return Finding{"unconfirmed_state", "a PREPARE or DEALLOCATE among other statements"};
  }
  if (type == "ExecuteStmt") return Finding{"unconfirmed_state", "an EXECUTE within a longer statement"};
  if (type == "DeclareCursorStmt" && (node.number("options") & cursor_with_hold) != 0) {
    return Finding{"cursor", "a cursor WITH HOLD"};
  }
  if (type == "RangeVar" && node.text("schemaname").starts_with("pg_temp")) return Finding{"temporary_table", "a temporary relation"};
  if (type == "String" && node.text("sval").starts_with("pg_temp")) {
    return Finding{"temporary_table", "something in the schema pg_temp"};
  }
  return std::nullopt;
}

/// Temporary relations that are made by the statement of this node and outlive its transaction, where summed up for all of its nodes.
int temporary_by(const TreeNode& node) {
  const auto is_temporary = [](const TreeNode& relation) { return relation.text("relpersistence") == "t"; };
  if (node.is("RangeVar")) return is_temporary(node) ? 1 : 0;
  if (node.is("CreateStmt") && node.number("oncommit") == on_commit_drop) return is_temporary(node.child("relation")) ? -1 : 0;
  if (node.is("IntoClause") && node.number("on_commit") == on_commit_drop) return is_temporary(node.child("rel")) ? -1 : 0;
  return 0;
}

/// A word of a stored body after which nothing about the session is certain.
std::optional<Finding> effect_of_word(const Token& token, const Token& previous, const Token& next) {
  if (token.text.size() >= 7 && load_folded(token.text.data(), 7) == word_key("pg_temp")) {
    return Finding{"temporary_table", "names the schema pg_temp"};
  }
  switch (token.word) {
    case Word::reset_: return Finding{"setting", "holds RESET"};
    case Word::listen_: case Word::unlisten_: return Finding{"unconfirmed_state", "holds LISTEN or UNLISTEN"};
    case Word::prepare_: case Word::deallocate_: return Finding{"unconfirmed_state", "holds PREPARE or DEALLOCATE"};
    case Word::execute_: return Finding{"unconfirmed_state", "runs dynamic SQL"};
    case Word::create_: return Finding{"unconfirmed_state", "holds CREATE"};
    case Word::discard_: return Finding{"unconfirmed_state", "holds DISCARD"};
    case Word::load_:
      return next.kind == Token::Kind::literal ? std::optional<Finding>({"extension_state", "holds LOAD"}) : std::nullopt;
    case Word::temp_: {  // SELECT INTO TEMP: CREATE is a finding by itself
      const bool makes = previous.word == Word::into_ || previous.word == Word::local_ || previous.word == Word::global_;
      return makes ? std::optional<Finding>({"temporary_table", "may make a temporary table"}) : std::nullopt;
    }
    case Word::set_config_: return Finding{"setting", "calls set_config"};
    case Word::do_:
      if (next.kind == Token::Kind::literal || next.kind == Token::Kind::dollar || lower(next.text) == "language") {
        return Finding{"unconfirmed_state", "holds DO"};
      }
      return std::nullopt;  // ON CONFLICT … DO
    case Word::set_: {
      if (next.word == Word::local_ || next.word == Word::transaction_ || next.word == Word::constraints_) {
        return std::nullopt;
      }
      const auto before = lower(previous.text);
      const bool starts = previous.kind == Token::Kind::end || previous.kind == Token::Kind::semicolon || before == ">" ||
                          before == "begin" || before == "then" || before == "else" || before == "loop" ||
                          before == "atomic";
      return starts ? std::optional<Finding>({"setting", "holds SET"}) : std::nullopt;  // else of an UPDATE
    }
    default: break;
  }
  if (token.key == word_key("hold")) return Finding{"cursor", "may open a cursor WITH HOLD"};
  return std::nullopt;
}

std::string identifier(const Token& token) {
  if (token.kind == Token::Kind::word) return lower(token.text);
  std::string out;
  for (std::size_t i = 1; i + 1 < token.text.size(); ++i) {
    out += token.text[i];
    if (token.text[i] == '"') ++i;
  }
  return out;
}

/// Body of a DO in a language that can be read; none for another language.
std::optional<std::string> do_body(const TreeNode& node) {
  std::string body, language = "plpgsql";
  for (const auto& option : node.children("args")) {
    const auto value = std::string(option.child("arg").text("sval"));
    if (option.text("defname") == "as") body = value;
    if (option.text("defname") == "language") language = value;
  }
  if (language != "plpgsql") return std::nullopt;
  return body;
}

}  // namespace

SessionJudge::SessionJudge(std::vector<std::string> trusted, StringSyntax syntax)
    : trusted_(std::move(trusted)), syntax_(syntax) {}

void SessionJudge::refuse(std::string_view reason, std::string what) {
  if (!refusal_) refusal_ = SessionVerdict{false, std::string(reason), std::move(what)};
}

bool SessionJudge::is_trusted(const QualifiedName& name) const {
  return std::find(trusted_.begin(), trusted_.end(), written(name)) != trusted_.end();
}

void SessionJudge::add_text(std::string_view text) {
  if (refusal_) return;
  const bool readable = syntax_ == StringSyntax::standard || text.find('\\') == std::string_view::npos;
  const auto tree = readable ? ParseTree::parse(text, judged_text_max) : std::nullopt;
  if (!tree) return refuse("unconfirmed_state", "a statement that could not be parsed");
  const auto statements = tree->statements();
  for (const auto& statement : statements) {
    int temporary = 0;
    each_node(statement, [&](const TreeNode& node) {
      temporary += temporary_by(node);
      if (const auto finding = effect_of(node, statements.size() == 1)) {
        refuse(finding->reason, std::string(finding->what));
      } else if (node.is("DoStmt")) {
        const auto body = do_body(node);
        if (body) {
          scan_body(*body, "a DO block");
        } else {
          refuse("unconfirmed_state", "a DO block in another language than plpgsql");
        }
      } else if (node.is("FuncCall") && !sets_for_transaction(node)) {
        const auto parts = node.strings("funcname");
        if (!parts.empty()) want({parts.size() > 1 ? parts[parts.size() - 2] : "", parts.back()}, Found::text);
      }
    });
    if (temporary > 0) refuse("temporary_table", "a temporary relation");
  }
}

void SessionJudge::want(const QualifiedName& name, Found found) {
  if (refusal_ || is_trusted(name) || asked_.contains(name)) return;
  if (name.schema.empty() || name.schema == "pg_catalog") {
    const auto effect = builtin_effect(name.name);
    if (touches_session(effect)) return refuse(reason_of(effect), "a call of " + written(name) + "()");
  }
  if (found == Found::text && is_newer_syntax(name.name)) return;
  if (asked_.size() + wanted_.size() >= names_max) {
    return refuse("unconfirmed_state", "more functions than can be looked into");
  }
  if (found == Found::text) must_exist_.insert(name.name);
  wanted_.insert(name);
}

std::vector<std::string> SessionJudge::next_names() {
  if (!looking_.empty() && !must_exist_.empty()) {
    refuse("unconfirmed_state", "the function " + *must_exist_.begin() + "(), which the server does not know");
  }
  if (++rounds_ > rounds_max && !wanted_.empty()) refuse("unconfirmed_state", "calls that are nested too deeply");
  looking_ = std::exchange(wanted_, {});
  asked_.insert(looking_.begin(), looking_.end());
  std::vector<std::string> out;
  if (refusal_) return out;
  for (const auto& name : looking_) out.push_back(name.name);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

// An SQL body in the form of the standard (version 14) is not in prosrc; pg_get_functiondef is there since before.
std::string_view SessionJudge::catalog_query() {
  return "SELECT n.nspname::pg_catalog.text, p.proname::pg_catalog.text,"
         " (p.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid)::pg_catalog.text,"
         " CASE WHEN p.prokind OPERATOR(pg_catalog.=) 'a'::pg_catalog.\"char\" THEN 'aggregate'"
         " ELSE l.lanname::pg_catalog.text END,"
         // The client's encoding may not have all that is in it: then a backslash stands for it, which is read as a doubt.
         " CASE WHEN pg_catalog.current_setting('client_encoding') OPERATOR(pg_catalog.=)"
         " ANY (ARRAY['UTF8', 'SQL_ASCII', pg_catalog.current_setting('server_encoding')]) THEN b.body"
         " ELSE pg_catalog.regexp_replace(b.body, '[^[:ascii:]]', pg_catalog.repeat(pg_catalog.chr(92), 2), 'g') END"
         " FROM pg_catalog.pg_proc p, pg_catalog.pg_namespace n, pg_catalog.pg_language l,"
         " LATERAL (SELECT CASE WHEN p.prokind OPERATOR(pg_catalog.=) 'a'::pg_catalog.\"char\" THEN"
         " (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(m.nspname::pg_catalog.text) OPERATOR(pg_catalog.||) '.'"
         " OPERATOR(pg_catalog.||) pg_catalog.quote_ident(q.proname::pg_catalog.text) OPERATOR(pg_catalog.||) '()', ' ')"
         " FROM pg_catalog.pg_aggregate a, pg_catalog.pg_proc q, pg_catalog.pg_namespace m"
         " WHERE a.aggfnoid::pg_catalog.oid OPERATOR(pg_catalog.=) p.oid"
         " AND m.oid OPERATOR(pg_catalog.=) q.pronamespace"
         " AND q.oid OPERATOR(pg_catalog.=) ANY (ARRAY[a.aggtransfn::pg_catalog.oid, a.aggfinalfn::pg_catalog.oid,"
         " a.aggcombinefn::pg_catalog.oid, a.aggserialfn::pg_catalog.oid, a.aggdeserialfn::pg_catalog.oid,"
         " a.aggmtransfn::pg_catalog.oid, a.aggminvtransfn::pg_catalog.oid, a.aggmfinalfn::pg_catalog.oid]))"
         " WHEN l.lanname OPERATOR(pg_catalog.=) 'sql'::pg_catalog.name"
         " AND p.prosrc OPERATOR(pg_catalog.=) ''::pg_catalog.text THEN pg_catalog.pg_get_functiondef(p.oid)"
         " ELSE p.prosrc END) AS b(body)"
         " WHERE n.oid OPERATOR(pg_catalog.=) p.pronamespace AND l.oid OPERATOR(pg_catalog.=) p.prolang"
         " AND p.proname::pg_catalog.text OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[])";
}

std::string SessionJudge::array_literal(const std::vector<std::string>& names) {
  std::string out = "{";
  for (const auto& name : names) {
    if (out.size() > 1) out += ',';
    out += '"';
    for (const char c : name) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out + '}';
}

void SessionJudge::on_function(const CatalogFunction& function) {
  must_exist_.erase(function.name);
  const QualifiedName full{function.schema, function.name};
  if (refusal_ || is_trusted(full)) return;
  if (!looking_.contains(full) && !looking_.contains({"", function.name})) return;  // only of another schema
  if (function.builtin) {
    const auto effect = builtin_effect(function.name);
    if (touches_session(effect)) refuse(reason_of(effect), "a call of " + function.name + "()");
    return;
  }
  if (function.language == "sql" || function.language == "plpgsql" || function.language == "aggregate") {
    return scan_body(function.source, "the function " + written(full) + "()");
  }
  refuse("extension_state", "the function " + written(full) + "() in the language " + function.language +
                                ", which cannot be looked into");
}

SessionVerdict SessionJudge::verdict() const {
  if (refusal_) return *refusal_;
  return SessionVerdict{true, {}, {}};
}

void SessionJudge::scan_body(std::string_view body, const std::string& owner) {
  // pg_get_functiondef shows the head of the function before its body.
  if (const auto atomic = body.find("\nBEGIN ATOMIC"); atomic != std::string_view::npos) body.remove_prefix(atomic);
  TextLexer lexer(body);
  Token previous, token = lexer.next();
  QualifiedName name;
  while (token.kind != Token::Kind::end && !refusal_) {
    const Token next = lexer.next();
    const bool qualified = previous.kind == Token::Kind::dot;
    if (token.kind == Token::Kind::word && !qualified) {
      if (const auto finding = effect_of_word(token, previous, next)) {
        return refuse(finding->reason, owner + ", which " + std::string(finding->what));
      }
    }
    if (token.kind == Token::Kind::word || token.kind == Token::Kind::quoted) {
      name = {qualified ? std::exchange(name.name, {}) : std::string{}, identifier(token)};
      const bool call = next.kind == Token::Kind::open &&
                        (qualified || token.kind == Token::Kind::quoted || !opens_group(token.word));
      if (call) want(name, Found::body);
    }
    previous = token;
    token = next;
  }
  if (lexer.doubtful()) refuse("unconfirmed_state", owner + ", whose body cannot be read for certain");
}

}  // namespace holdfast::postgres
