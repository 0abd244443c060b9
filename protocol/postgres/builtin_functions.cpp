// The list itself.
#include "protocol/postgres/builtin_functions.hpp"

#include <algorithm>
#include <iterator>

namespace holdfast::postgres {
namespace {

struct Entry {
  std::string_view name;  // with '*' at its end: every name that begins so
  BuiltinEffect effect;
};

constexpr Entry entries[] = {
    {"set_config", BuiltinEffect::setting},
    {"setseed", BuiltinEffect::random_seed},
    {"nextval", BuiltinEffect::sequence},
    {"setval", BuiltinEffect::sequence},
    {"currval", BuiltinEffect::sequence_read},
    {"lastval", BuiltinEffect::sequence_read},
    {"pg_advisory_xact_lock", BuiltinEffect::transaction_lock},
    {"pg_advisory_xact_lock_shared", BuiltinEffect::transaction_lock},
    {"pg_try_advisory_xact_lock", BuiltinEffect::transaction_lock},
    {"pg_try_advisory_xact_lock_shared", BuiltinEffect::transaction_lock},
    {"pg_advisory_*", BuiltinEffect::advisory_lock},
    {"pg_try_advisory_*", BuiltinEffect::advisory_lock},
    {"lo_get", BuiltinEffect::none},
    {"lo_*", BuiltinEffect::large_object},
    {"loread", BuiltinEffect::large_object},
    {"lowrite", BuiltinEffect::large_object},
    {"pg_replication_origin_session_*", BuiltinEffect::replication},
    {"pg_replication_origin_xact_*", BuiltinEffect::replication},
    {"pg_replication_origin_*", BuiltinEffect::writes},
    {"pg_create_physical_replication_slot", BuiltinEffect::replication},  // may be temporary
    {"pg_create_logical_replication_slot", BuiltinEffect::replication},
    {"pg_copy_physical_replication_slot", BuiltinEffect::replication},
    {"pg_copy_logical_replication_slot", BuiltinEffect::replication},
    {"dblink*", BuiltinEffect::connection},
    {"pg_backup_start", BuiltinEffect::backup},
    {"pg_backup_stop", BuiltinEffect::backup},
    {"pg_start_backup", BuiltinEffect::backup},
    {"pg_stop_backup", BuiltinEffect::backup},
    {"binary_upgrade_*", BuiltinEffect::replication},
    {"pg_stop_making_pinned_objects", BuiltinEffect::writes},
    {"query_to_xml*", BuiltinEffect::dynamic},
    {"cursor_to_xml*", BuiltinEffect::none},
    {"ts_stat", BuiltinEffect::dynamic},
    {"ts_rewrite", BuiltinEffect::dynamic},
    {"current_query", BuiltinEffect::none},
    {"pg_notify", BuiltinEffect::writes},
    {"pg_export_snapshot", BuiltinEffect::writes},
    {"pg_logical_emit_message", BuiltinEffect::writes},
    {"pg_logical_slot_get_*", BuiltinEffect::writes},
    {"pg_replication_slot_advance", BuiltinEffect::writes},
    {"pg_drop_replication_slot", BuiltinEffect::writes},
    {"pg_sync_replication_slots", BuiltinEffect::writes},
    {"pg_create_restore_point", BuiltinEffect::writes},
    {"pg_switch_wal", BuiltinEffect::writes},
    {"pg_log_standby_snapshot", BuiltinEffect::writes},
    {"pg_promote", BuiltinEffect::writes},
    {"pg_wal_replay_pause", BuiltinEffect::writes},
    {"pg_wal_replay_resume", BuiltinEffect::writes},
    {"pg_reload_conf", BuiltinEffect::writes},
    {"pg_rotate_logfile*", BuiltinEffect::writes},
    {"pg_log_backend_memory_contexts", BuiltinEffect::writes},
    {"pg_cancel_backend", BuiltinEffect::writes},
    {"pg_terminate_backend", BuiltinEffect::writes},
    {"pg_nextoid", BuiltinEffect::writes},
    {"pg_current_xact_id", BuiltinEffect::writes},
    {"txid_current", BuiltinEffect::writes},
    {"pg_stat_reset*", BuiltinEffect::writes},
    {"pg_stat_force_next_flush", BuiltinEffect::writes},
    {"pg_import_system_collations", BuiltinEffect::writes},
    {"pg_extension_config_dump", BuiltinEffect::writes},
    {"pg_restore_*", BuiltinEffect::writes},
    {"pg_clear_*", BuiltinEffect::writes},
    {"pg_prewarm", BuiltinEffect::writes},
    {"brin_desummarize_range", BuiltinEffect::writes},
    {"brin_summarize_*", BuiltinEffect::writes},
    {"gin_clean_pending_list", BuiltinEffect::writes},
    {"pg_file_*", BuiltinEffect::writes},
    {"table_to_xml*", BuiltinEffect::none},
};

constexpr std::string_view common_reads[] = {
    "abs", "array_agg", "avg", "bool_and", "bool_or", "ceil", "char_length", "concat", "count", "current_database",
    "current_schema", "current_setting", "date_part", "date_trunc", "extract", "floor", "format", "generate_series",
    "json_agg", "jsonb_agg", "length", "lower", "max", "md5", "min", "now", "pg_backend_pid", "pg_sleep", "random",
    "repeat", "replace", "round", "row_number", "string_agg", "substr", "substring", "sum", "to_char", "trim", "trunc",
    "unnest", "upper", "version"};

}  // namespace

bool is_common_read(std::string_view schema, std::string_view name) {
  return (schema.empty() || schema == "pg_catalog") && std::ranges::find(common_reads, name) != std::end(common_reads);
}

BuiltinEffect builtin_effect(std::string_view name) {
  for (const auto& entry : entries) {
    const bool prefix = entry.name.back() == '*';
    if (prefix ? name.starts_with(entry.name.substr(0, entry.name.size() - 1)) : name == entry.name) return entry.effect;
  }
  return BuiltinEffect::none;
}

bool touches_session(BuiltinEffect effect) {
  switch (effect) {
    case BuiltinEffect::none: case BuiltinEffect::writes: case BuiltinEffect::transaction_lock:
    case BuiltinEffect::large_object: case BuiltinEffect::sequence:
      return false;
    case BuiltinEffect::setting: case BuiltinEffect::random_seed: case BuiltinEffect::advisory_lock:
    case BuiltinEffect::sequence_read: case BuiltinEffect::replication: case BuiltinEffect::connection:
    case BuiltinEffect::backup: case BuiltinEffect::dynamic:
      return true;
  }
  return true;
}

}  // namespace holdfast::postgres
