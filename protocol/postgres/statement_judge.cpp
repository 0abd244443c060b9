// Walks the parse tree of each statement and takes down what it finds.
#include "protocol/postgres/statement_judge.hpp"

#include <algorithm>

#include "protocol/postgres/builtin_functions.hpp"
#include "protocol/postgres/parse_tree.hpp"

namespace holdfast::postgres {
namespace {

TransactionControl control_of(const TreeNode& node) {
  const bool chain = node.number("chain") != 0;
  switch (node.number("kind")) {  // TransactionStmtKind
    case 1: case 2: return TransactionControl::begin;
    case 3: return chain ? TransactionControl::commit_chain : TransactionControl::commit;
    case 4: return chain ? TransactionControl::rollback_chain : TransactionControl::rollback;
    case 5: return TransactionControl::savepoint;
    case 6: return TransactionControl::release;
    case 7: return TransactionControl::rollback_to;
    case 8: return TransactionControl::prepare_transaction;
    case 9: return TransactionControl::commit_prepared;
    case 10: return TransactionControl::rollback_prepared;
    default: return TransactionControl::commit;  // unknown: the one that claims least
  }
}

bool explains_by_running(const TreeNode& explain) {
  const auto options = explain.children("options");
  return std::any_of(options.begin(), options.end(), [](const TreeNode& option) {
    return option.text("defname") == "analyze";  // ANALYZE off, too
  });
}

/// COPY … TO STDOUT is a read of a table or a query; a file or a program is the server's own doing.
bool copies_to_client(const TreeNode& copy) {
  return copy.number("is_from") == 0 && copy.number("is_program") == 0 && copy.text("filename").empty();
}

StatementEffect effect_of(const TreeNode& node) {
  const auto type = node.type();
  if (type == "SelectStmt") return StatementEffect::reads;
  if (type == "VariableShowStmt") return StatementEffect::reads;
  if (type == "CopyStmt" && copies_to_client(node)) return StatementEffect::reads;
  if (type == "ExplainStmt") return explains_by_running(node) ? effect_of(node.child("query")) : StatementEffect::reads;
  if (type == "TransactionStmt") return StatementEffect::transaction;
  if (type == "CallStmt" || type == "DoStmt") return StatementEffect::procedure;
  for (const std::string_view session :
       {"VariableSetStmt", "ListenStmt", "UnlistenStmt", "PrepareStmt", "DeallocateStmt", "DiscardStmt", "LoadStmt",
        "DeclareCursorStmt", "ClosePortalStmt", "ConstraintsSetStmt"}) {
    if (type == session) return StatementEffect::session;
  }
  return StatementEffect::writes;
}

void add(std::vector<QualifiedName>& names, const std::vector<std::string>& parts) {
  if (parts.empty()) return;
  names.push_back({parts.size() > 1 ? parts[parts.size() - 2] : std::string{}, parts.back()});
}

template <class T>
void sort_unique(std::vector<T>& names) {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
}

/// Takes down one node; false when it makes its statement more than a read.
bool take(const TreeNode& node, StatementJudgement& out) {
  const auto type = node.type();
  if (type == "FuncCall") {
    add(out.functions, node.strings("funcname"));
    return out.functions.empty() || builtin_effect(out.functions.back().name) == BuiltinEffect::none;
  }
  if (type == "RangeTableSample") add(out.functions, node.strings("method"));
  if (type == "A_Expr") {
    const auto name = node.strings("name");
    add(out.operators, name);
    // It is written as a word, and made of these.
    if (!name.empty() && name.back().find("BETWEEN") != std::string::npos) {
      for (const char* each : {"<", "<=", ">", ">="}) out.operators.push_back({"", each});
    }
  }
  if (type == "SubLink") add(out.operators, node.strings("oper_name"));
  if (type == "SortBy") add(out.operators, node.strings("use_op"));
  // Equality that is not written: CASE x WHEN y, JOIN … USING, NATURAL JOIN.
  if (type == "CaseExpr" && node.child("arg")) out.operators.push_back({"", "="});
  if (type == "JoinExpr" && (node.number("is_natural") != 0 || !node.children("using_clause").empty())) {
    out.operators.push_back({"", "="});
  }
  if (type == "TypeCast") add(out.types, node.child("type_name").strings("names"));
  if (type == "RangeVar") out.relations.push_back({std::string(node.text("schemaname")), std::string(node.text("relname"))});
  if (type == "CommonTableExpr") out.common_tables.emplace_back(node.text("ctename"));
  return type != "InsertStmt" && type != "UpdateStmt" && type != "DeleteStmt" && type != "MergeStmt" &&
         type != "LockingClause" && type != "IntoClause";
}

bool manipulates_data(const TreeNode& statement) {
  for (const std::string_view type : {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CopyStmt"}) {
    if (statement.is(type)) return true;
  }
  return false;
}

StatementJudgement judge(const TreeNode& statement) {
  StatementJudgement out;
  out.effect = effect_of(statement);
  if (out.effect == StatementEffect::transaction) {
    out.control = control_of(statement);
    out.name = std::string(statement.text("savepoint_name"));
    if (out.name.empty()) out.name = std::string(statement.text("gid"));
  }
  out.outside = statement.is("CopyStmt") && (statement.number("is_program") != 0 || !statement.text("filename").empty());
  out.prepares = statement.is("PrepareStmt") || statement.is("DeallocateStmt") || statement.is("DiscardStmt");
  bool reads = true;
  each_node(statement, [&](const TreeNode& node) { reads = take(node, out) && reads; });
  // EXPLAIN of a writing statement plans it and no more.
  const bool plan = statement.is("ExplainStmt") && out.effect == StatementEffect::reads;
  if (out.effect == StatementEffect::reads && !reads && !plan) out.effect = StatementEffect::writes;
  out.reads_only = out.effect == StatementEffect::reads && reads;
  out.manipulates_data = out.effect == StatementEffect::reads || (out.effect == StatementEffect::writes && manipulates_data(statement));
  sort_unique(out.functions);
  sort_unique(out.operators);
  sort_unique(out.relations);
  sort_unique(out.types);
  sort_unique(out.common_tables);
  return out;
}

bool is_only(const TextJudgement& text, TransactionControl control) {
  return text.parsed && text.statements.size() == 1 && text.statements.front().control == control;
}

bool ends_by_commit(TransactionControl control) {
  return control == TransactionControl::commit || control == TransactionControl::commit_chain ||
         control == TransactionControl::prepare_transaction || control == TransactionControl::commit_prepared ||
         control == TransactionControl::rollback_prepared;
}

}  // namespace

TextJudgement judge_text(std::string_view text, StringSyntax syntax) {
  TextJudgement out;
  if (syntax == StringSyntax::with_escapes && text.find('\\') != std::string_view::npos) return out;
  const auto tree = ParseTree::parse(text, judged_text_max);
  if (!tree) return out;
  out.parsed = true;
  for (const auto& statement : tree->statements()) out.statements.push_back(judge(statement));
  return out;
}

TextJudgement judge_prepared(std::string_view text) {
  TextJudgement out;
  const auto tree = ParseTree::parse(text, judged_text_max);
  if (!tree) return out;
  const auto statements = tree->statements();
  if (statements.size() != 1 || !statements.front().is("PrepareStmt")) return out;
  out.parsed = true;
  out.statements.push_back(judge(statements.front().child("query")));
  return out;
}

bool may_commit(const TextJudgement& text, char before) {
  if (!text.parsed) return true;
  if (before == 'E' && (is_plain_commit(text) || is_only(text, TransactionControl::commit_chain) ||
                        is_only(text, TransactionControl::prepare_transaction))) {
    return false;
  }
  bool pending = false;  // something to commit in the transaction that is open by now
  for (const auto& statement : text.statements) {
    if (ends_by_commit(statement.control) || statement.effect == StatementEffect::procedure) return true;
    if (statement.control == TransactionControl::rollback || statement.control == TransactionControl::rollback_chain) {
      pending = false;
    } else if (statement.control == TransactionControl::none) {
      pending = pending || statement.effect == StatementEffect::writes || !statement.functions.empty();
    }
  }
  return pending && status_after(text, before).status == 'I';
}

BlockStatus status_after(const TextJudgement& text, char before) {
  BlockStatus out{before, true};
  if (!text.parsed) return {'E', true};
  for (const auto& statement : text.statements) {
    const bool open = out.status != 'I';
    switch (statement.control) {
      case TransactionControl::begin:
        if (!open) out.status = 'T';
        break;
      case TransactionControl::commit: case TransactionControl::rollback: case TransactionControl::prepare_transaction:
        if (open) out = {'I', false};
        break;
      case TransactionControl::commit_chain: case TransactionControl::rollback_chain:
        if (open) out = {'T', false};
        break;
      case TransactionControl::rollback_to:
        if (out.status == 'E') out.status = 'T';
        break;
      case TransactionControl::none: case TransactionControl::savepoint: case TransactionControl::release:
      case TransactionControl::commit_prepared: case TransactionControl::rollback_prepared:
        break;
    }
  }
  return out;
}

bool is_plain_rollback(const TextJudgement& text) { return is_only(text, TransactionControl::rollback); }

bool is_plain_commit(const TextJudgement& text) { return is_only(text, TransactionControl::commit); }

bool mixes_transaction_control(const TextJudgement& text) {
  return !text.parsed ||
         (text.statements.size() > 1 && std::any_of(text.statements.begin(), text.statements.end(), [](const auto& s) {
            return s.control != TransactionControl::none;
          }));
}

bool only_reads(const TextJudgement& text) {
  return text.parsed && !text.statements.empty() &&
         std::all_of(text.statements.begin(), text.statements.end(), [](const auto& s) { return s.reads_only; });
}

bool calls_only_common_reads(const StatementJudgement& statement) {
  return std::all_of(statement.functions.begin(), statement.functions.end(),
                     [](const auto& function) { return is_common_read(function.schema, function.name); });
}

bool may_call_procedure(const TextJudgement& text) {
  return !text.parsed || std::any_of(text.statements.begin(), text.statements.end(),
                                     [](const auto& s) { return s.effect == StatementEffect::procedure; });
}

}  // namespace holdfast::postgres
