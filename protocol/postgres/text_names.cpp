// Reads the one name that a text of a known class is about. Not on the hot path: only for texts that the scan has sorted.
#include <algorithm>
#include <utility>

#include "protocol/postgres/text_lexer.hpp"
#include "protocol/postgres/text_scan.hpp"

namespace holdfast::postgres {
namespace {

/// The identifier as the server folds it: quoted ones as they are.
std::string fold(const Token& token) {
  if (token.kind != Token::Kind::quoted) return lower(token.text);
  std::string out;
  for (std::size_t i = 1; i + 1 < token.text.size(); ++i) {
    out += token.text[i];
    if (token.text[i] == '"') ++i;
  }
  return out;
}

/// `word` is in lower case.
bool is_word(const Token& token, std::string_view word) {
  return token.kind == Token::Kind::word && std::ranges::equal(token.text, word, [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b;
         });
}

bool is_name(const Token& token) { return token.kind == Token::Kind::word || token.kind == Token::Kind::quoted; }

/// A literal without its quotes and prefix.
std::string_view literal_body(const Token& token) {
  auto body = token.text.substr(token.text.find('\'') + 1);
  if (body.ends_with('\'')) body.remove_suffix(1);
  return body;
}

/// A literal may hold SQL that is run later.
bool may_hold_settings(std::string_view literal) {
  constexpr std::string_view set = "set";
  const auto equal = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; };
  return std::search(literal.begin(), literal.end(), set.begin(), set.end(), equal) != literal.end();
}

std::string without_doubled_quotes(std::string_view literal) {
  std::string out;
  for (std::size_t i = 0; i < literal.size(); ++i) {
    out += literal[i];
    if (literal[i] == '\'' && i + 1 < literal.size() && literal[i + 1] == '\'') ++i;
  }
  return out;
}

}  // namespace

bool is_dotted_name(std::string_view text) {
  bool part = false, dotted = false;
  for (const char c : text) {
    const bool digit = (c >= '0' && c <= '9') || c == '$';
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
    if (c == '.') {
      if (!part) return false;
      part = false;
      dotted = true;
    } else if (letter || (digit && part)) {
      part = true;
    } else {
      return false;
    }
  }
  return part && dotted;
}

namespace {

/// The name after SET [SESSION | LOCAL], dots included; `token` is left at what follows.
std::string setting_name(TextLexer& lexer, Token& token) {
  if (token.word == Word::session_ || token.word == Word::local_) {
    TextLexer ahead = lexer;
    if (begins_name(ahead.next())) token = lexer.next();  // else it is a name itself: SET local.a = …
  }
  std::string out;
  while (is_name(token)) {
    out += lower(fold(token));
    token = lexer.next();
    if (token.kind != Token::Kind::dot) break;
    out += '.';
    token = lexer.next();
  }
  return out;
}

void add(std::vector<std::string>& names, std::string name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
}

constexpr int nesting_max = 4;  // of literals that are looked into

bool names_set_config(std::string_view text) {
  constexpr auto word = word_key("set_config");
  for (std::size_t i = 0; i + 10 <= text.size(); ++i) {
    if ((text[i] == 's' || text[i] == 'S') && word_key(text.substr(i, 10)) == word) return true;
  }
  return false;
}

void collect_dotted(std::string_view text, bool literals, std::vector<std::string>& names, int nesting = 0) {
  TextLexer lexer(text);
  Token previous;
  for (Token token = lexer.next(); token.kind != Token::Kind::end;) {
    if (token.kind == Token::Kind::word && token.word == Word::set_ && previous.kind != Token::Kind::dot) {
      previous = token;
      token = lexer.next();
      // UPDATE … SET a.b = …, too: a name too many costs nothing.
      if (auto name = setting_name(lexer, token); is_dotted_name(name)) add(names, std::move(name));
      continue;
    }
    if (token.kind == Token::Kind::dollar) {
      collect_dotted(token.text, literals, names, nesting);
      if (literals && is_dotted_name(token.text)) add(names, lower(token.text));
    }
    if (token.kind == Token::Kind::literal) {
      const auto body = literal_body(token);
      if (literals && is_dotted_name(body)) add(names, lower(body));
      if (nesting < nesting_max && may_hold_settings(body)) {
        const auto inner = without_doubled_quotes(body);
        collect_dotted(inner, names_set_config(inner), names, nesting + 1);
      }
    }
    previous = token;
    token = lexer.next();
  }
}

}  // namespace

std::optional<std::string> set_target(std::string_view text) {
  if (scan_text(text).kind != TextClass::constant_set) return std::nullopt;
  TextLexer lexer(text);
  lexer.next();
  Token token = lexer.next();
  auto name = setting_name(lexer, token);
  // Followed by a value right away, these are other spellings of a setting.
  const bool plain = token.kind == Token::Kind::other || (token.kind == Token::Kind::word && token.text.size() == 2 &&
                                                          lower(token.text) == "to");
  if (name.empty()) return std::nullopt;
  if (plain) return name;
  if (name == "time" && token.word == Word::zone_) return "timezone";
  if (name == "names") return "client_encoding";
  if (name == "schema") return "search_path";
  if (name == "xml") return "xmloption";
  if (const auto target = characteristics_target(text)) return std::string(*target);
  return std::nullopt;
}

std::optional<std::string_view> characteristics_target(std::string_view text) {
  TextLexer lexer(text);
  const auto takes = [&lexer](std::string_view words) {
    TextLexer ahead = lexer;
    while (!words.empty()) {
      const auto word = words.substr(0, words.find(' '));
      if (!is_word(ahead.next(), word)) return false;
      words.remove_prefix(std::min(words.size(), word.size() + 1));
    }
    lexer = ahead;
    return true;
  };
  if (!takes("set session characteristics as transaction")) return std::nullopt;
  std::string_view target = "default_transaction_isolation";
  if (takes("read only") || takes("read write")) {
    target = "default_transaction_read_only";
  } else if (!takes("isolation level") || !(takes("serializable") || takes("repeatable read") || takes("read committed") ||
                                            takes("read uncommitted"))) {
    return std::nullopt;
  }
  // With a second mode behind it, it is about two settings.
  Token token = lexer.next();
  if (token.kind == Token::Kind::semicolon) token = lexer.next();
  return token.kind == Token::Kind::end && !lexer.doubtful() ? std::optional(target) : std::nullopt;
}

namespace {

/// Behind a DEALLOCATE; none for ALL.
std::optional<std::string> deallocated_name(TextLexer& lexer) {
  Token token = lexer.next();
  if (token.word == Word::prepare_) {
    TextLexer ahead = lexer;
    const Token next = ahead.next();
    if (is_name(next)) {  // else the statement is called PREPARE
      token = next;
      lexer = ahead;
    }
  }
  if (is_word(token, "all") || !is_name(token)) return std::nullopt;
  return fold(token);
}

}  // namespace

bool is_dropped_at_commit(std::string_view text) {
  TextLexer lexer(text);
  Token before, previous;
  for (Token token = lexer.next(); token.kind != Token::Kind::end; token = lexer.next()) {
    if (is_word(before, "on") && is_word(previous, "commit") && is_word(token, "drop")) return true;
    before = std::exchange(previous, token);
  }
  return false;
}

std::optional<std::string> prepared_name(std::string_view text) {
  TextLexer lexer(text);
  const Token first = lexer.next();
  if (first.word == Word::deallocate_) return deallocated_name(lexer);
  if (first.word != Word::prepare_ && first.word != Word::execute_) return std::nullopt;
  const Token token = lexer.next();
  if ((first.word == Word::prepare_ && token.word == Word::transaction_) || !is_name(token)) return std::nullopt;
  return fold(token);
}

std::vector<std::string> deallocated_names(std::string_view text) {
  std::vector<std::string> names;
  TextLexer lexer(text);
  bool begins = true;
  for (Token token = lexer.next(); token.kind != Token::Kind::end; token = lexer.next()) {
    if (begins && token.word == Word::deallocate_) names.push_back(deallocated_name(lexer).value_or(std::string()));
    begins = token.kind == Token::Kind::semicolon;
  }
  return names;
}

bool names_it(std::string_view text, std::string_view name) {
  TextLexer lexer(text);
  for (Token token = lexer.next(); token.kind != Token::Kind::end; token = lexer.next()) {
    if (is_name(token) && fold(token) == name) return true;
    if (token.kind == Token::Kind::literal && token.text.find(name) != std::string_view::npos) return true;
    if (token.kind == Token::Kind::dollar && names_it(token.text, name)) return true;
  }
  return false;
}

std::optional<std::string> channel_name(std::string_view text) {
  TextLexer lexer(text);
  const Token first = lexer.next();
  if (first.word != Word::listen_ && first.word != Word::unlisten_) return std::nullopt;
  const Token token = lexer.next();
  if (!is_name(token)) return std::nullopt;
  return fold(token);
}

std::vector<std::string> dotted_settings(std::string_view text) {
  std::vector<std::string> names;
  collect_dotted(text, names_set_config(text), names);
  return names;
}

std::vector<std::string> dotted_literals(std::string_view text) {
  std::vector<std::string> names;
  collect_dotted(text, true, names);
  return names;
}

namespace {

/// The arguments of a set_config, `lexer` behind its parenthesis.
bool computes_name(TextLexer& lexer, ParameterOf parameters) {
  std::size_t depth = 1, commas = 0;
  bool given = false, in_type = false, computed = false, closed = false;
  Token before, last;
  for (Token token = lexer.next(); token.kind != Token::Kind::end; token = lexer.next()) {
    if (token.kind == Token::Kind::open) ++depth;
    if (token.kind == Token::Kind::close && --depth == 0) {
      closed = true;
      break;
    }
    if (token.kind == Token::Kind::comma && depth == 1) {
      ++commas;
    } else if (commas == 0 && !given) {
      given = true;
      const auto body = token.kind == Token::Kind::literal ? literal_body(token) : std::string_view();
      const bool literal = token.kind == Token::Kind::literal && (is_dotted_name(body) || body.find('.') == std::string_view::npos);
      computed = !literal && (token.kind != Token::Kind::parameter || parameters == ParameterOf::function);
    } else if (commas == 0) {
      in_type = in_type || token.kind == Token::Kind::cast;
      computed = computed || !in_type;
    }
    before = std::exchange(last, token);
  }
  const bool local = commas == 2 && last.word == Word::true_ && before.kind == Token::Kind::comma;
  return (computed || !closed) && !local;  // cut off: the rest is put together elsewhere
}

bool computes(std::string_view text, ParameterOf parameters, int nesting) {
  TextLexer lexer(text);
  for (Token token = lexer.next(); token.kind != Token::Kind::end;) {
    if (token.kind == Token::Kind::dollar && computes(token.text, ParameterOf::function, nesting)) return true;
    if (token.kind == Token::Kind::literal && nesting < nesting_max && names_set_config(token.text) &&
        computes(without_doubled_quotes(literal_body(token)), ParameterOf::function, nesting + 1)) {
      return true;
    }
    const bool named = is_name(token) && fold(token) == "set_config";
    token = lexer.next();
    if (named && token.kind == Token::Kind::open && computes_name(lexer, parameters)) return true;
  }
  return false;
}

}  // namespace

bool computes_setting_name(std::string_view text, ParameterOf parameters) {
  return names_set_config(text) && computes(text, parameters, 0);
}

std::vector<std::string> called_names(std::string_view text) {
  std::vector<std::string> names;
  TextLexer lexer(text);
  Token previous;
  bool qualified = false, begins = true, in_do = false;
  for (Token token = lexer.next(); token.kind != Token::Kind::end; token = lexer.next()) {
    if (std::exchange(begins, token.kind == Token::Kind::semicolon)) in_do = token.word == Word::do_;
    const bool called = token.kind == Token::Kind::open && is_name(previous) &&
                        (qualified || previous.kind == Token::Kind::quoted || !opens_group(previous.word));
    if (called) add(names, fold(previous));
    if (token.kind == Token::Kind::dollar) {
      for (auto& name : called_names(token.text)) add(names, std::move(name));
    } else if (in_do && token.kind == Token::Kind::literal) {
      for (auto& name : called_names(without_doubled_quotes(literal_body(token)))) add(names, std::move(name));
    }
    qualified = is_name(token) && previous.kind == Token::Kind::dot;
    previous = token;
  }
  return names;
}

}  // namespace holdfast::postgres
