// Cuts SQL text into tokens as PostgreSQL's scanner does (scan.l), without folding or decoding them. Where two servers or
// settings could cut differently it says `doubtful` and goes on with one reading.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/postgres/text_words.hpp"

namespace holdfast::postgres {

struct Token {
  enum class Kind : std::uint8_t {
    end, word, quoted, literal, number, parameter, dollar, open, close, comma, dot, semicolon, cast, other,
  };
  Kind kind = Kind::end;
  Word word = Word::none;
  std::string_view text;  // quotes included; of a dollar quote the body alone
  std::uint64_t key = 0;  // of a word
};

/// A name of the client's could begin here; TO is reserved.
inline bool begins_name(const Token& token) noexcept {
  return token.kind == Token::Kind::quoted || (token.kind == Token::Kind::word && token.key != word_key("to"));
}

/// A word as the server folds it. High bytes are left alone, as in UTF-8 databases.
[[nodiscard]] inline std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

class TextLexer {
 public:
  explicit TextLexer(std::string_view text) noexcept : at_(text.data()), end_(text.data() + text.size()) {}

  Token next() noexcept {
    skip_blanks();
    if (at_ == end_) return {};
    const char* begin = at_;
    switch (classes_[byte(*at_)]) {
      case Class::letter: return word(begin);
      case Class::digit: return number(begin);
      case Class::quote: return literal(begin, Escapes::doubtful);
      case Class::double_quote: return quoted(begin);
      case Class::dollar: return dollar(begin);
      case Class::dot:
        if (at_ + 1 != end_ && classes_[byte(at_[1])] == Class::digit) return number(begin);
        return single(Token::Kind::dot);
      case Class::open: return single(Token::Kind::open);
      case Class::close: return single(Token::Kind::close);
      case Class::comma: return single(Token::Kind::comma);
      case Class::semicolon: return single(Token::Kind::semicolon);
      case Class::colon:
        if (at_ + 1 != end_ && at_[1] == ':') {
          at_ += 2;
          return {Token::Kind::cast, Word::none, {begin, 2}, 0};
        }
        return single(Token::Kind::other);
      case Class::blank:
      case Class::other: break;
    }
    if (*at_ == '\0' || *at_ == '\\') doubtful_ = true;  // no token of SQL
    return single(Token::Kind::other);
  }

  [[nodiscard]] bool doubtful() const noexcept { return doubtful_; }

 private:
  enum class Class : std::uint8_t {
    other, blank, letter, digit, quote, double_quote, dollar, dot, open, close, comma, semicolon, colon,
  };
  enum class Escapes : std::uint8_t { doubtful, backslash, unicode };

  static constexpr std::uint8_t byte(char c) { return static_cast<std::uint8_t>(c); }

  static constexpr std::array<Class, 256> make_classes() {
    std::array<Class, 256> out{};
    for (std::size_t c = 0; c < 256; ++c) {
      if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80) out[c] = Class::letter;
      if (c >= '0' && c <= '9') out[c] = Class::digit;
      if (c == ' ' || (c >= 9 && c <= 13)) out[c] = Class::blank;
    }
    out['\''] = Class::quote;
    out['"'] = Class::double_quote;
    out['$'] = Class::dollar;
    out['.'] = Class::dot;
    out['('] = Class::open;
    out[')'] = Class::close;
    out[','] = Class::comma;
    out[';'] = Class::semicolon;
    out[':'] = Class::colon;
    return out;
  }
  static constexpr std::array<bool, 256> make_continues() {
    std::array<bool, 256> out{};
    const auto classes = make_classes();
    for (std::size_t c = 0; c < 256; ++c) {
      out[c] = classes[c] == Class::letter || classes[c] == Class::digit || c == '$';
    }
    return out;
  }
  static const std::array<Class, 256> classes_;
  static const std::array<bool, 256> continues_;

  bool starts_word() const { return at_ != end_ && (classes_[byte(*at_)] == Class::letter || *at_ == '$'); }

  Token single(Token::Kind kind) {
    const char* begin = at_++;
    return {kind, Word::none, {begin, 1}, 0};
  }

  void skip_blanks() {
    while (at_ != end_) {
      if (classes_[byte(*at_)] == Class::blank) {
        ++at_;
      } else if (*at_ == '-' && at_ + 1 != end_ && at_[1] == '-') {
        while (at_ != end_ && *at_ != '\n' && *at_ != '\r') ++at_;
      } else if (*at_ == '/' && at_ + 1 != end_ && at_[1] == '*') {
        skip_comment();
      } else {
        return;
      }
    }
  }

  void skip_comment() {  // comments nest
    std::size_t depth = 0;
    while (end_ - at_ >= 2) {
      if (*at_ == '/' && at_[1] == '*') {
        ++depth;
        at_ += 2;
      } else if (*at_ == '*' && at_[1] == '/') {
        at_ += 2;
        if (--depth == 0) return;
      } else {
        ++at_;
      }
    }
    at_ = end_;
    doubtful_ = true;
  }

  Token word(const char* begin) {
    std::uint8_t bits = 0;
    do {
      bits |= byte(*at_);
      ++at_;
    } while (at_ != end_ && continues_[byte(*at_)]);
    const std::string_view text(begin, static_cast<std::size_t>(at_ - begin));
    // In some client encodings (SJIS, GBK, …) the second byte of a character can be one of @[\]^`{|}~.
    if ((bits & 0x80) != 0 && at_ != end_ && byte(*at_) >= 0x40) doubtful_ = true;
    if (text.size() == 1 && at_ != end_) {
      const char prefix = static_cast<char>(*begin | 0x20);
      if (*at_ == '\'' && prefix == 'e') return literal(begin, Escapes::backslash);
      if (*at_ == '\'' && (prefix == 'b' || prefix == 'x' || prefix == 'n')) return literal(begin, Escapes::doubtful);
      if (*at_ == '&' && prefix == 'u' && at_ + 1 != end_) {
        if (at_[1] == '\'') return ++at_, literal(begin, Escapes::unicode);
        if (at_[1] == '"') return doubtful_ = true, ++at_, quoted(begin);
      }
    }
    const auto key = fast_key(text);
    return {Token::Kind::word, find_word(text, key), text, key};
  }

  /// word_key, with one load where the buffer allows it.
  std::uint64_t fast_key(std::string_view text) const {
    if (text.size() > 8 || end_ - text.data() < 8) return word_key(text);
    std::uint64_t value = 0;
    std::memcpy(&value, text.data(), 8);
    return (value | 0x2020202020202020ULL) & (~std::uint64_t{0} >> (64 - 8 * text.size()));
  }

  Token number(const char* begin) {
    const auto digits = [this] { while (at_ != end_ && classes_[byte(*at_)] == Class::digit) ++at_; };
    digits();
    if (at_ != end_ && *at_ == '.') {
      ++at_;
      digits();
    }
    if (end_ - at_ >= 2 && (*at_ == 'e' || *at_ == 'E')) {
      const bool sign = at_[1] == '+' || at_[1] == '-';
      if (end_ - at_ > (sign ? 2 : 1) && classes_[byte(at_[sign ? 2 : 1])] == Class::digit) {
        at_ += sign ? 2 : 1;
        digits();
      }
    }
    if (starts_word()) doubtful_ = true;  // 1and, 0x1F, 1_000: cut differently from version to version
    return {Token::Kind::number, Word::none, {begin, static_cast<std::size_t>(at_ - begin)}, 0};
  }

  Token literal(const char* begin, Escapes escapes) {  // at_ is at the opening quote
    for (++at_; at_ != end_; ++at_) {
      if (*at_ == '\'') {
        if (at_ + 1 == end_ || at_[1] != '\'') {
          ++at_;
          return {Token::Kind::literal, Word::none, {begin, static_cast<std::size_t>(at_ - begin)}, 0};
        }
        ++at_;
      } else if (*at_ == '\\' && escapes != Escapes::unicode) {
        // A plain literal takes it by standard_conforming_strings; after a high byte it may be half a character.
        if (escapes == Escapes::doubtful || (at_[-1] & 0x80) != 0) doubtful_ = true;
        if (escapes == Escapes::backslash && at_ + 1 != end_) ++at_;
      } else if (*at_ == '\0') {
        doubtful_ = true;
      }
    }
    doubtful_ = true;
    return {Token::Kind::literal, Word::none, {begin, static_cast<std::size_t>(at_ - begin)}, 0};
  }

  Token quoted(const char* begin) {
    for (++at_; at_ != end_; ++at_) {
      if (*at_ != '"') continue;
      if (at_ + 1 == end_ || at_[1] != '"') {
        ++at_;
        return {Token::Kind::quoted, Word::none, {begin, static_cast<std::size_t>(at_ - begin)}, 0};
      }
      ++at_;
    }
    doubtful_ = true;
    return {Token::Kind::quoted, Word::none, {begin, static_cast<std::size_t>(at_ - begin)}, 0};
  }

  Token dollar(const char* begin) {
    ++at_;
    if (at_ != end_ && classes_[byte(*at_)] == Class::digit) {
      while (at_ != end_ && classes_[byte(*at_)] == Class::digit) ++at_;
      if (starts_word()) doubtful_ = true;
      return {Token::Kind::parameter, Word::none, {begin, static_cast<std::size_t>(at_ - begin)}, 0};
    }
    while (at_ != end_ && *at_ != '$' && continues_[byte(*at_)]) ++at_;
    if (at_ == end_ || *at_ != '$') {
      doubtful_ = true;
      return {Token::Kind::other, Word::none, {begin, static_cast<std::size_t>(at_ - begin)}, 0};
    }
    ++at_;
    const std::string_view tag(begin, static_cast<std::size_t>(at_ - begin));
    const std::string_view rest(at_, static_cast<std::size_t>(end_ - at_));
    const auto size = rest.find(tag);
    if (size == std::string_view::npos) {
      doubtful_ = true;
      at_ = end_;
      return {Token::Kind::dollar, Word::none, rest, 0};
    }
    at_ += size + tag.size();
    return {Token::Kind::dollar, Word::none, rest.substr(0, size), 0};
  }

  const char* at_;
  const char* end_;
  bool doubtful_ = false;
};

inline constexpr std::array<TextLexer::Class, 256> TextLexer::classes_ = TextLexer::make_classes();
inline constexpr std::array<bool, 256> TextLexer::continues_ = TextLexer::make_continues();

}  // namespace holdfast::postgres
