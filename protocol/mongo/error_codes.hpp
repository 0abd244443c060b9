// The error codes of MongoDB that something here acts on (MongoDB manual, "Error Codes").
#pragma once

#include <string_view>

namespace holdfast::mongo::code {

inline constexpr int none = 0;
inline constexpr int host_unreachable = 6, host_not_found = 7, bad_value = 9, unauthorized = 13, authentication_failed = 18, illegal_operation = 20,
                     lock_timeout = 24, cursor_not_found = 43, max_time_expired = 50, command_not_found = 59, multiple_errors_occurred = 65,
                     network_timeout = 89,
                     shutdown_in_progress = 91, conflicting_operation = 117, document_validation = 121, failed_to_satisfy_read_preference = 133,
                     read_concern_not_available_yet = 134, max_staleness_out_of_range = 160, query_plan_killed = 175, metadata_cannot_be_mutated = 186, primary_stepped_down = 189,
                     network_interface_exceeded_time_limit = 202,
                     transaction_too_old = 225, incomplete_history = 217, no_such_transaction = 251,
                     transaction_committed = 256, exceeded_time_limit = 262, unsupported_in_transaction = 263, no_retryable_writes = 301, mechanism_unavailable = 334,
                     unsupported_op_query = 352, reauthentication_required = 391, request_rate_limit_exceeded = 462, socket_exception = 9001,
                     not_primary_legacy = 10058, not_writable_primary = 10107, duplicate_key = 11000, interrupted_at_shutdown = 11600,
                     interrupted = 11601, interrupted_by_state_change = 11602, not_primary_no_secondary_ok = 13435,
                     not_primary_or_secondary = 13436, retried_statement_mismatch = 40608, incomplete_retry_history = 40611,
                     not_a_retryable_write = 50768, no_recovery_token = 50940;

/// What a server names the codes that are answered by the proxy itself.
[[nodiscard]] constexpr std::string_view name_of(int code) {
  switch (code) {
    case host_unreachable: return "HostUnreachable";
    case bad_value: return "FailedToParse";
    case unauthorized: return "Unauthorized";
    case authentication_failed: return "AuthenticationFailed";
    case cursor_not_found: return "CursorNotFound";
    case max_time_expired: return "MaxTimeMSExpired";
    case command_not_found: return "CommandNotFound";
    case failed_to_satisfy_read_preference: return "FailedToSatisfyReadPreference";
    case max_staleness_out_of_range: return "MaxStalenessOutOfRange";
    case metadata_cannot_be_mutated: return "ClientMetadataCannotBeMutated";
    case no_such_transaction: return "NoSuchTransaction";
    case mechanism_unavailable: return "MechanismUnavailable";
    case unsupported_op_query: return "UnsupportedOpQueryCommand";
    case reauthentication_required: return "ReauthenticationRequired";
    case request_rate_limit_exceeded: return "IngressRequestRateLimitExceeded";
    case 15: return "Overflow";
    case 17: return "ProtocolError";
    case 22: return "InvalidBSON";
    case 115: return "CommandNotSupported";
    default: return "Location";
  }
}

/// A change of state of the member that answers. No client may see one: drivers then drop their connections.
[[nodiscard]] constexpr bool is_state_change(int code) {
  switch (code) {
    case primary_stepped_down:
    case not_writable_primary:
    case not_primary_legacy:
    case interrupted_by_state_change:
    case not_primary_no_secondary_ok:
    case not_primary_or_secondary:
    case shutdown_in_progress:
    case interrupted_at_shutdown: return true;
    default: return false;
  }
}

/// At the root of a reply these say that nothing of the command was executed.
[[nodiscard]] constexpr bool is_refusal(int code) {
  return code == not_writable_primary || code == not_primary_no_secondary_ok || code == not_primary_or_secondary;
}

/// Errors of a server's own network: what a member says of others that it asked.
[[nodiscard]] constexpr bool is_network(int code) {
  return code == host_unreachable || code == host_not_found || code == network_timeout || code == socket_exception ||
         code == network_interface_exceeded_time_limit;
}

/// After these a read is worth another try (Retryable Reads specification, and drivers' lists).
[[nodiscard]] constexpr bool is_retryable_read(int code) {
  return is_state_change(code) || is_network(code) || code == exceeded_time_limit || code == read_concern_not_available_yet;
}

/// What may end a command before it is executed, or looked for among those that were: rights, time, locks, somebody's killOp.
[[nodiscard]] constexpr bool is_apart_from_execution(int code) {
  return code == unauthorized || code == lock_timeout || code == max_time_expired || code == exceeded_time_limit || code == interrupted;
}

/// What a server answers that takes no txnNumber, or none for this collection: it has executed nothing.
[[nodiscard]] constexpr bool refuses_number(int code) {
  return code == illegal_operation || code == unsupported_in_transaction || code == no_retryable_writes || code == not_a_retryable_write;
}

/// Only our own repetition of a request can have caused these.
[[nodiscard]] constexpr bool is_caused_by_repetition(int code) {
  return code == incomplete_history || code == transaction_too_old || code == conflicting_operation ||
         code == retried_statement_mismatch || code == incomplete_retry_history;
}

}  // namespace holdfast::mongo::code

namespace holdfast::mongo::label {

inline constexpr std::string_view transient_transaction = "TransientTransactionError", retryable_write = "RetryableWriteError",
                                  unknown_commit = "UnknownTransactionCommitResult",
                                  overloaded = "SystemOverloadedError", retryable = "RetryableError",
                                  no_writes_performed = "NoWritesPerformed";

}  // namespace holdfast::mongo::label
