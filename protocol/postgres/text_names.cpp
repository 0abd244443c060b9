// Reads the one name that a text of a known class is about. Not on the hot path: only for texts that the scan has sorted.
#include <algorithm>

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

void collect_dotted(std::string_view text, bool literals, std::vector<std::string>& names) {
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
      collect_dotted(token.text, literals, names);
      if (literals && is_dotted_name(token.text)) add(names, lower(token.text));
    }
    if (token.kind == Token::Kind::literal && literals) {
      const auto open = token.text.find('\'');
      auto body = token.text.substr(open + 1);
      if (body.ends_with('\'')) body.remove_suffix(1);
      if (is_dotted_name(body)) add(names, lower(body));
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

std::optional<std::string> prepared_name(std::string_view text) {
  TextLexer lexer(text);
  const Token first = lexer.next();
  if (first.word != Word::prepare_ && first.word != Word::execute_ && first.word != Word::deallocate_) return std::nullopt;
  Token token = lexer.next();
  if (first.word == Word::prepare_ && token.word == Word::transaction_) return std::nullopt;
  if (first.word == Word::deallocate_) {
    if (token.word == Word::prepare_) {
      const Token next = lexer.next();
      if (is_name(next)) token = next;  // else the statement is called PREPARE
    }
    if (token.kind == Token::Kind::word && lower(token.text) == "all") return std::nullopt;
  }
  if (!is_name(token)) return std::nullopt;
  return fold(token);
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
  const auto word = word_key("set_config");
  bool literals = false;
  for (std::size_t i = 0; i + 10 <= text.size() && !literals; ++i) {
    literals = (text[i] == 's' || text[i] == 'S') && word_key(text.substr(i, 10)) == word;
  }
  std::vector<std::string> names;
  collect_dotted(text, literals, names);
  return names;
}

}  // namespace holdfast::postgres
