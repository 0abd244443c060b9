// One pass over the tokens of a text: where a call may be, what its statement is, its shape. Names are text_names.cpp's.
#include "protocol/postgres/text_scan.hpp"

#include <algorithm>

#include "protocol/postgres/text_lexer.hpp"

namespace holdfast::postgres {
namespace {

/// `word` in lower case.
bool contains_word(std::string_view text, std::string_view word) {
  const auto equal = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; };
  return std::search(text.begin(), text.end(), word.begin(), word.end(), equal) != text.end();
}

bool controls_transaction(Word word) {
  switch (word) {
    case Word::begin_: case Word::start_: case Word::commit_: case Word::end_: case Word::rollback_: case Word::abort_:
    case Word::savepoint_: case Word::release_:
      return true;
    default: return false;
  }
}

/// First words of statements that are harmless where they call nothing.
bool starts_harmless(Word word) {
  switch (word) {
    case Word::select_: case Word::insert_: case Word::update_: case Word::delete_: case Word::merge_:
    case Word::values_: case Word::table_: case Word::with_: case Word::fetch_: case Word::move_: case Word::close_:
    case Word::show_: case Word::lock_: case Word::copy_: case Word::explain_: case Word::notify_:
    case Word::truncate_:
      return true;
    default: return controls_transaction(word);
  }
}

bool names_pg_temp(const Token& token) {  // pg_temp, pg_temp_3
  return token.text.size() >= 7 && (token.text[0] | 0x20) == 'p' && load_folded(token.text.data(), 7) == word_key("pg_temp");
}

class Scan {
 public:
  explicit Scan(std::string_view text) : text_(text), lexer_(text) {}

  /// Flat, so that tokens stay in registers: a third of the time.
  [[gnu::flatten]] TextScan run() {
    for (Token token = lexer_.next(); token.kind != Token::Kind::end; token = lexer_.next()) {
      if (token.kind == Token::Kind::semicolon) {
        name_ = Name::none;
        fresh_ = true;
      } else {
        if (fresh_) {
          ++statements_;
          words_ = 0;
          fresh_ = false;
        }
        if (want_select_ && token.word != Word::select_) may_call_ = true;
        want_select_ = false;
        on_token(token);
      }
      before_previous_ = previous_.kind;
      previous_ = {token.kind, token.word};
    }
    return finish();
  }

 private:
  /// Where a name stands after which a parenthesis holds columns, types or arguments of another kind than a call's.
  enum class Name : std::uint8_t { none, expected, complete };

  /// What later tokens ask of the one before them. Two bytes: a copy of the whole token would cost as much as the rest.
  struct Neighbour {
    Token::Kind kind = Token::Kind::end;
    Word word = Word::none;
  };

  void on_token(const Token& token) {
    switch (token.kind) {
      case Token::Kind::word: on_word(token); break;
      case Token::Kind::quoted: on_quoted(token); break;
      case Token::Kind::open: on_open(); break;
      case Token::Kind::close: on_close(); break;
      case Token::Kind::dot: name_ = name_ == Name::complete ? Name::expected : Name::none; break;
      case Token::Kind::cast: name_ = Name::expected; break;
      case Token::Kind::comma:
        name_ = Name::none;
        if (depth_ == config_depth_) ++config_commas_;
        break;
      case Token::Kind::dollar: on_body(token); break;
      case Token::Kind::literal:
        name_ = Name::none;
        if (is_body(token)) on_body(token);
        break;
      default: name_ = Name::none;
    }
    hash_token(token);
    note_neighbours(token);
  }

  void on_word(const Token& token) {
    if (words_ < 4) first_[words_] = token.word;
    if (words_ < 255) ++words_;
    if (words_ == 1) on_first(token.word);
    pg_temp_ = pg_temp_ || names_pg_temp(token);
    after_insert_ = insert_ && previous_.word == Word::insert_;
    insert_ = false;
    name_ = name_ == Name::expected ? Name::complete : Name::none;
    if (token.word == Word::none || (opens_group(token.word) && token.word != Word::select_)) return;
    if (previous_.kind == Token::Kind::dot) {
      if (token.word == Word::set_config_) on_set_config();
      return;
    }
    on_known(token);
  }

  void on_first(Word word) {
    transaction_word_ = transaction_word_ || controls_transaction(word);
    select_seen_ = join_seen_ = false;
  }

  void on_known(const Token& token) {
    if (words_ == 2 && first_[0] == Word::prepare_ && token.word == Word::transaction_) transaction_word_ = true;
    switch (token.word) {
      case Word::select_:
        if (depth_ == 0) select_seen_ = true;
        break;
      case Word::join_: join_seen_ = true; break;
      case Word::execute_: case Word::deallocate_: uses_prepared_ = true; break;
      case Word::declare_: case Word::create_: case Word::refresh_: makes_ = true; break;
      case Word::temp_:
        if (follows_making()) temporary_ = true;
        break;
      case Word::insert_: insert_ = starts_insert(); break;
      case Word::set_config_: on_set_config(); break;
      case Word::into_: on_into(); break;
      default: break;
    }
    // The names after these are not those of functions, though a parenthesis may follow.
    if (words_ == 1 && (token.word == Word::copy_ || token.word == Word::prepare_ || token.word == Word::execute_)) {
      name_ = Name::expected;
    }
  }

  /// TEMP right after CREATE, OR REPLACE, INTO, or LOCAL and GLOBAL after these.
  bool follows_making() const {
    const bool create = first_[0] == Word::create_ && words_ <= 5;
    switch (previous_.word) {
      case Word::create_: case Word::replace_: return create;
      case Word::into_: return into_;
      case Word::local_: case Word::global_: return create || (into_ && words_ - into_word_ == 2);
      default: return false;
    }
  }

  /// INSERT is no reserved word: `SELECT a insert INTO t` makes a table.
  bool starts_insert() const {
    if (words_ == 1 || previous_.kind == Token::Kind::open) return true;
    return depth_ == 0 && !select_seen_ && (first_[0] == Word::with_ || first_[0] == Word::explain_);
  }

  void on_into() {
    if (after_insert_ || (words_ == 2 && previous_.word == Word::merge_)) {
      name_ = Name::expected;
    } else {
      into_ = true;
      into_word_ = words_;
    }
  }

  void on_set_config() {
    const bool builtin = previous_.kind != Token::Kind::dot || schema_ == Word::pg_catalog_;
    if (!builtin) may_call_ = true;
    if (!builtin || config_depth_ != not_in_config) calls_set_config_ = true;
    config_named_ = true;
  }

  void on_quoted(const Token& token) {
    if (words_ == 0) on_first(Word::none);
    if (words_ < 4) first_[words_] = Word::none;
    if (words_ < 255) ++words_;
    name_ = name_ == Name::expected ? Name::complete : Name::none;
    if (contains_word(token.text, "set_config")) calls_set_config_ = true;
    if (contains_word(token.text, "pg_temp")) pg_temp_ = true;
  }

  /// DO '…': no constant.
  bool is_body(const Token& token) const { return token.kind == Token::Kind::literal && words_ > 0 && first_[0] == Word::do_; }

  void on_body(const Token& token) {
    name_ = Name::none;
    if (contains_word(token.text, "set_config")) calls_set_config_ = true;
    if (contains_word(token.text, "execute") || contains_word(token.text, "deallocate")) uses_prepared_ = true;
  }

  void on_open() {
    ++depth_;
    const bool named = name_ == Name::complete;
    name_ = Name::none;
    if (previous_.kind == Token::Kind::word && config_named_ && previous_.word == Word::set_config_) {
      if (config_depth_ != not_in_config) calls_set_config_ = true;
      config_depth_ = depth_;
      config_commas_ = 0;
      config_named_ = false;
      return;
    }
    if (!named && !groups()) may_call_ = true;
  }

  /// The parenthesis after previous_ does not hold the arguments of a function.
  bool groups() {
    switch (previous_.kind) {
      case Token::Kind::end: case Token::Kind::semicolon: case Token::Kind::other: case Token::Kind::open:
      case Token::Kind::close: case Token::Kind::comma:
        return true;
      case Token::Kind::word: break;
      default: return false;
    }
    if (before_previous_ == Token::Kind::dot) return false;  // after a dot every word is a name
    if (opens_group(previous_.word)) return true;
    switch (previous_.word) {
      case Word::explain_: case Word::copy_: return words_ == 1;
      case Word::by_: return second_last_ == Word::group_ || second_last_ == Word::order_;
      case Word::varying_: return second_last_ == Word::char_;
      case Word::materialized_: return second_last_ == Word::as_;
      // ON CONFLICT (column): a function of that name could stand only in the condition of a join.
      case Word::conflict_:
        return second_last_ == Word::on_ && depth_ == 1 && first_[0] == Word::insert_ && !join_seen_ && !select_seen_;
      case Word::join_: return want_select_ = true;  // JOIN (SELECT …); join(…) may be a function
      default: return false;
    }
  }

  void on_close() {
    name_ = Name::none;
    if (depth_ == config_depth_) {
      const bool local = config_commas_ == 2 && previous_.word == Word::true_ && before_previous_ == Token::Kind::comma;
      (local ? local_set_config_ : calls_set_config_) = true;
      config_depth_ = not_in_config;
    }
    if (depth_ == 0) {
      may_call_ = true;  // not SQL
    } else {
      --depth_;
    }
  }

  void hash_token(const Token& token) {
    const bool constant = (token.kind == Token::Kind::literal && !is_body(token)) || token.kind == Token::Kind::number;
    if (token.kind == Token::Kind::comma && constant_) {
      comma_ = true;  // lists of constants are one, whatever their length
      return;
    }
    if (comma_ && !constant) shape_ = mix(shape_, ',');
    if (!(comma_ && constant)) {
      if (constant) {
        shape_ = mix(shape_, 1);
      } else if (token.kind == Token::Kind::word) {
        shape_ = mix(shape_, token.key);
      } else if (token.text.size() == 1) {
        shape_ = mix(shape_, static_cast<std::uint8_t>(token.text.front()));
      } else {
        hash_bytes(token.text);
      }
    }
    constant_ = constant;
    comma_ = false;
  }

  void note_neighbours(const Token& token) {
    if (token.kind == Token::Kind::word) {
      second_last_ = previous_.word;  // none where it was no word
      if (previous_.kind != Token::Kind::dot) schema_ = token.word;
    } else if (token.kind != Token::Kind::dot) {
      schema_ = Word::none;
    }
  }

  void hash_bytes(std::string_view bytes) {
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
      std::uint64_t value = 0;
      std::memcpy(&value, bytes.data() + i, std::min<std::size_t>(8, bytes.size() - i));
      shape_ = mix(shape_, value);
    }
    shape_ = mix(shape_, bytes.size() + 2);
  }

  TextScan finish() {
    const bool doubtful = lexer_.doubtful();
    if (config_named_ || config_depth_ != not_in_config) calls_set_config_ = true;  // named, or its call is cut off
    if (want_select_) may_call_ = true;
    if (doubtful) {
      // Literals may begin and end elsewhere: nothing but the bytes is certain.
      hash_bytes(text_);
      may_call_ = transaction_word_ = true;
      calls_set_config_ = calls_set_config_ || contains_word(text_, "set_config");
      uses_prepared_ = uses_prepared_ || contains_word(text_, "execute") || contains_word(text_, "deallocate");
    }
    TextScan out;
    out.single_statement = statements_ <= 1 && !doubtful;
    out.kind = kind(doubtful, out.set_local);
    out.may_call = may_call_ || out.kind == TextClass::unknown || out.kind == TextClass::procedure;
    out.uses_prepared = uses_prepared_;
    out.transaction_word = transaction_word_;
    out.two_phase = out.single_statement && starts_two_phase();
    out.calls_set_config = calls_set_config_;
    out.shape = shape_;
    return out;
  }

  TextClass kind(bool doubtful, bool& set_local) const {
    if (statements_ == 0) return doubtful ? TextClass::unknown : TextClass::harmless;
    if (statements_ > 1) return TextClass::unknown;
    // A quoted first token leaves Word::none: unknown.
    const Word first = first_[0];
    if (first == Word::set_ || first == Word::reset_) return set_kind(doubtful, set_local);
    if (doubtful) return TextClass::unknown;
    switch (first) {
      case Word::prepare_: return second() == Word::transaction_ ? TextClass::harmless : TextClass::prepare;
      case Word::deallocate_: return TextClass::deallocate;
      case Word::execute_: return may_call_ ? TextClass::unknown : TextClass::execute;
      case Word::listen_: return TextClass::listen;
      case Word::unlisten_: return TextClass::unlisten;
      case Word::discard_: return TextClass::discard;
      case Word::load_: return TextClass::load;
      case Word::declare_: return TextClass::declare;
      case Word::call_: case Word::do_: return TextClass::procedure;
      default: break;
    }
    if (temporary_ || pg_temp_) return TextClass::temporary;
    if (!starts_harmless(first) || into_) return TextClass::unknown;
    if (first == Word::explain_ && (makes_ || uses_prepared_)) return TextClass::unknown;
    if (calls_set_config_) return TextClass::set_other;
    if (may_call_) return TextClass::unknown;
    set_local = local_set_config_;
    return local_set_config_ ? TextClass::set_other : TextClass::harmless;
  }

  TextClass set_kind(bool doubtful, bool& set_local) const {
    if (first_[0] == Word::reset_) return TextClass::set_other;
    Word what = second();
    Word after = words_ > 2 ? first_[2] : Word::none;
    if (names_setting()) {
      what = Word::none;  // SET local.a = …, SET transaction TO …: settings of such names
    } else if (what == Word::local_ || what == Word::transaction_ || what == Word::constraints_ ||
        what == Word::transaction_setting_) {
      set_local = !doubtful && !may_call_;
      return may_call_ ? TextClass::unknown : TextClass::set_other;
    }
    if (what == Word::session_ && words_ > 2) {
      what = after;
      after = words_ > 3 ? first_[3] : Word::none;
    }
    if (what == Word::characteristics_ && characteristics_target(text_)) return TextClass::constant_set;
    if (what == Word::seed_) return TextClass::unknown;  // as setseed(): no setting that could be read back
    if (what == Word::transaction_setting_) return TextClass::set_other;
    // The value may hold pg_temp inside a literal, and then CREATE TABLE makes temporary tables.
    if (pg_temp_ || contains_word(text_, "pg_temp")) return TextClass::temporary;
    const bool constant = what != Word::role_ && what != Word::authorization_ && what != Word::characteristics_ &&
                          what != Word::session_authorization_ && after != Word::from_ && !first_quoted();
    return constant && !doubtful && !may_call_ ? TextClass::constant_set : TextClass::set_other;
  }

  Word second() const { return words_ > 1 ? first_[1] : Word::none; }

  bool starts_two_phase() const {
    if (first_[0] == Word::prepare_) return second() == Word::transaction_;
    return (first_[0] == Word::commit_ || first_[0] == Word::rollback_) && second() == Word::prepared_;
  }

  /// SET's second word is the name of a setting, or its first part, though it could be a keyword.
  bool names_setting() const {
    const Word what = second();
    if (what != Word::local_ && what != Word::session_ && what != Word::transaction_ && what != Word::constraints_ &&
        what != Word::transaction_setting_) {
      return false;
    }
    TextLexer lexer(text_);
    lexer.next();
    lexer.next();
    const Token third = lexer.next();
    return third.kind == Token::Kind::dot || (what != Word::transaction_setting_ && !begins_name(third));
  }

  /// SET "Name" …: which setting it is would have to be unquoted first.
  bool first_quoted() const {
    TextLexer lexer(text_);
    for (int i = 0; i < 3; ++i) {
      if (lexer.next().kind == Token::Kind::quoted && i > 0) return true;
    }
    return false;
  }

  static constexpr std::size_t not_in_config = ~std::size_t{0};

  std::string_view text_;
  TextLexer lexer_;
  Neighbour previous_;
  Token::Kind before_previous_ = Token::Kind::end;
  Word second_last_ = Word::none;  // the word right before previous_, if both are words
  Word schema_ = Word::none;       // the word before the last dot
  Word first_[4] = {};             // of the statement under way; of the only one at the end
  std::size_t words_ = 0;
  std::size_t statements_ = 0;
  std::size_t depth_ = 0;
  std::size_t config_depth_ = not_in_config;
  std::size_t config_commas_ = 0;
  std::size_t into_word_ = 0;
  std::uint64_t shape_ = 0;
  Name name_ = Name::none;
  bool fresh_ = true;  // no token of the statement yet
  bool insert_ = false;        // the last word was the INSERT of a statement
  bool after_insert_ = false;  // the one before it was
  bool select_seen_ = false;  // in the statement itself, not in parentheses
  bool join_seen_ = false;
  bool into_ = false;
  bool makes_ = false;
  bool want_select_ = false;
  bool temporary_ = false;
  bool pg_temp_ = false;
  bool may_call_ = false;
  bool uses_prepared_ = false;
  bool transaction_word_ = false;
  bool calls_set_config_ = false;
  bool local_set_config_ = false;
  bool config_named_ = false;
  bool constant_ = false;  // the last token hashed was a constant
  bool comma_ = false;     // a comma after a constant, not hashed yet
};

}  // namespace

TextScan scan_text(std::string_view text) noexcept { return Scan(text).run(); }

}  // namespace holdfast::postgres
