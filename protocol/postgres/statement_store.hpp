// The statements of one session: those it has prepared, and those under way. Keeps texts, decides nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "protocol/postgres/frame.hpp"
#include "protocol/postgres/text_scan.hpp"

namespace holdfast::postgres {

using StatementId = std::uint32_t;
inline constexpr StatementId no_statement = 0xffffffff;
/// Number of a backend within a session, counted from 1; 0 is none.
using BackendNumber = std::uint32_t;

/// A Parse or Query message as the client sent it. Slots are used again with their memory, so that a statement costs
/// no allocation in the steady state.
struct Statement {
  std::string message;            // whole, header included; empty for a text too long to be kept
  std::uint32_t name_size = 0;    // of the name that stands before the text in a Parse
  std::uint32_t text_size = 0;
  std::uint32_t references = 0;
  BackendNumber backend = 0;      // the one that knows it under its name (prepared statements only)
  std::uint64_t born = 0;         // number of the request that prepared it
  std::uint64_t read_as = 0;      // how its text was read, where that has changed since: sent again, it would be another; else 0
  TextScan scan{};
  bool is_parse = false;
  [[nodiscard]] std::string_view name() const {
    return is_parse ? std::string_view(message).substr(header_size, name_size) : std::string_view{};
  }
  [[nodiscard]] std::string_view text() const {
    if (message.empty()) return {};
    return std::string_view(message).substr(header_size + (is_parse ? name_size + 1 : 0), text_size);
  }
  [[nodiscard]] bool has_text() const { return !message.empty(); }
};

class StatementStore {
 public:
  /// Keeps a Query message; the caller owns one reference.
  StatementId add_query(std::string_view message, std::string_view text);
  /// Keeps a Parse message; the caller owns one reference.
  StatementId add_parse(std::string_view message, std::string_view name, std::string_view text);
  /// A statement whose text was too long to be kept.
  StatementId add_without_text();

  void hold(StatementId id) {
    if (id != no_statement) ++slots_[id].references;
  }
  void release(StatementId id);
  [[nodiscard]] Statement& operator[](StatementId id) { return slots_[id]; }
  [[nodiscard]] const Statement& operator[](StatementId id) const { return slots_[id]; }

  /// The prepared statement of that name; the empty name is the unnamed one.
  [[nodiscard]] StatementId find(std::string_view name) const;
  /// Binds the name, taking a reference, and returns what it meant before: the caller owns that reference.
  StatementId bind_name(std::string_view name, StatementId id);
  /// Undoes bind_name: the name means `previous` again (whose reference passes back), or nothing.
  void rebind_name(std::string_view name, StatementId previous);
  void drop_name(std::string_view name);
  /// The server reads texts in another way from now on than by `reading`: those of which the meaning depends on that keep it.
  void note_reading(std::uint64_t reading);
  /// DEALLOCATE ALL: the unnamed statement stays.
  void drop_all_names();

  /// Calls `visit(name, id)` for every named prepared statement.
  template <class Visit>
  void each_name(Visit visit) const {
    for (const auto& [name, id] : names_) visit(name, id);
  }
  [[nodiscard]] std::size_t names() const { return names_.size(); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  StatementId take_slot();

  std::vector<Statement> slots_;
  std::vector<StatementId> free_;
  std::unordered_map<std::string, StatementId, Hash, std::equal_to<>> names_;
  StatementId unnamed_ = no_statement;
};

}  // namespace holdfast::postgres
