// Functions of PostgreSQL's own that do more than read: what they leave behind, in the database or in the session.
// A list made from pg_proc of version 15 (the volatile ones, read one by one) and the manuals up to 18.
#pragma once

#include <cstdint>
#include <string_view>

namespace holdfast::postgres {

enum class BuiltinEffect : std::uint8_t {
  none,          ///< not in the list: nothing that is known
  setting,       ///< set_config
  random_seed,   ///< setseed
  advisory_lock, ///< of the session: outlives the transaction
  transaction_lock, ///< advisory, until the transaction ends
  sequence,      ///< nextval, setval: what currval and lastval then tell
  sequence_read, ///< currval, lastval: depends on the session's earlier nextval
  large_object,  ///< descriptors, until the transaction ends; the objects themselves
  replication,   ///< replication origins and slots held by the session
  connection,    ///< dblink: named connections of an extension
  backup,        ///< pg_backup_start: ends with its session
  dynamic,       ///< runs the text of a query
  writes,        ///< changes the database or the server, leaves the session alone
};

/// By name alone, in lower case. `pg_catalog` or not is for the caller to know.
[[nodiscard]] BuiltinEffect builtin_effect(std::string_view name);

/// One of the functions of pg_catalog in daily use that neither write nor touch the session, by the name that it is called by.
[[nodiscard]] bool is_common_read(std::string_view schema, std::string_view name);

/// The session would miss something on another backend.
[[nodiscard]] bool touches_session(BuiltinEffect effect);

}  // namespace holdfast::postgres
