// One verdict for each reply, from its codes and labels, never from its text but for one code of 4.4 that hides in a text, and for 13, which
// has two meanings.
#include "protocol/mongo/reply.hpp"

#include <algorithm>
#include <array>

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/several.hpp"

namespace holdfast::mongo {

namespace {

constexpr int operation_failed = 96;

/// What a bulkWrite has in place of `n`.
constexpr std::array<std::string_view, 4> bulk_counts{"nInserted", "nMatched", "nUpserted", "nDeleted"};

int code_of(const Element& field) { return static_cast<int>(std::clamp<std::int64_t>(field.integer, 0, INT32_MAX)); }

void note_inner(int code, Reply& into) {
  if (into.inner_state_change == 0 && code::is_state_change(code)) into.inner_state_change = code;
}

/// That there was nobody to send it to counts only where nothing else went wrong: another shard may have had it.
void note_shard(int code, Reply& into) {
  const bool nobody = code == code::failed_to_satisfy_read_preference;
  if (!nobody && !code::is_network(code)) return;
  if (into.inner_network_code == 0 || into.inner_network_code == code::failed_to_satisfy_read_preference) into.inner_network_code = code;
}

/// A statement that failed on several shards, each in another way: `{code: 65, errInfo: {causedBy: [{code}, …]}}`.
void note_causes(std::string_view error, Reply& into) {
  const auto info = find(error, "errInfo");
  const auto causes = info && info->kind == Kind::document ? find(info->bytes, "causedBy") : std::nullopt;
  if (!causes || causes->kind != Kind::array) return;
  static_cast<void>(for_each(causes->bytes, [&](const Element& each) {
    const auto code = each.kind == Kind::document ? find(each.bytes, "code") : std::nullopt;
    if (!code) return true;
    note_inner(code_of(*code), into);
    note_shard(code_of(*code), into);
    return true;
  }));
}

/// `index_key`: where it says which statement it is about.
void note_write_error(std::string_view error, std::string_view index_key, Reply& into) {
  const auto code = find(error, "code");
  const auto index = find(error, index_key);
  if (into.write_errors++ == 0) {
    into.first_error_code = code ? code_of(*code) : 0;
    into.first_error_index = index ? static_cast<std::size_t>(std::max<std::int64_t>(0, index->integer)) : 0;
  }
  if (!code) return;
  note_inner(code_of(*code), into);
  note_shard(code_of(*code), into);
  if (code_of(*code) == code::multiple_errors_occurred) note_causes(error, into);
}

bool read_write_errors(std::string_view errors, Reply& into) {
  return for_each(errors, [&](const Element& each) {
           if (each.kind != Kind::document) return false;
           note_write_error(each.bytes, "index", into);
           return true;
         }) == Walk::complete;
}

/// What a bulkWrite says of each statement stands in a cursor's first batch; of no other reply may that be read so, for it holds users' documents.
bool read_bulk_results(std::string_view cursor, Reply& into) {
  const auto batch = find(cursor, "firstBatch");
  if (!batch || batch->kind != Kind::array) return true;
  return for_each(batch->bytes, [&](const Element& each) {
           if (each.kind != Kind::document) return false;
           const auto ok = find(each.bytes, "ok");
           if (ok && !ok->truth()) note_write_error(each.bytes, "idx", into);
           return true;
         }) == Walk::complete;
}

void read_labels(std::string_view labels, Reply& into) {
  static_cast<void>(for_each(labels, [&](const Element& each) {
    if (each.kind != Kind::text) return true;
    into.retryable_label = into.retryable_label || each.bytes == label::retryable_write;
    into.transient_label = into.transient_label || each.bytes == label::transient_transaction;
    return true;
  }));
}

bool read_field(const Element& field, Reply& into) {
  const auto key = field.key;
  if (key == "ok") into.ok = field.truth();
  if (key == "code" && field.kind == Kind::number) into.code = code_of(field);
  if (key == "errmsg" && field.kind == Kind::text) into.message = field.bytes;
  if (key == "errorLabels" && field.kind == Kind::array) read_labels(field.bytes, into);
  if (key == "electionId" && field.kind == Kind::object_id) into.election_id = field.bytes;
  if (key == "n" && field.kind == Kind::number) {
    into.has_n = true;
    into.n = field.integer;
  }
  if (key == "retriedStmtIds") into.known_again = true;
  if (key == "writeErrors" && field.kind == Kind::array) return read_write_errors(field.bytes, into);
  if (key == "writeConcernError" && field.kind == Kind::document) {
    if (const auto code = find(field.bytes, "code")) into.write_concern_code = code_of(*code);
    note_inner(into.write_concern_code, into);
  }
  if (key == "cursor" && field.kind == Kind::document) {
    if (const auto id = find(field.bytes, "id"); id && id->whole) into.cursor = id->integer;
    if (const auto name = find(field.bytes, "ns"); name && name->kind == Kind::text) into.cursor_namespace = name->bytes;
  }
  return true;
}

/// 4.4 reports some interruptions as OperationFailed.
bool hides_interruption(const Reply& reply) {
  return reply.code == operation_failed && reply.message.find("InterruptedDueToReplStateChange") != std::string_view::npos;
}

bool is_single(const Command& command) { return command.statements <= 1 && !command.multiple; }

/// A change of the member's state, at the root or below it.
Verdict judge_state_change(const Command& command, const Reply& reply) {
  if (!reply.ok && code::is_refusal(reply.code)) return Verdict::not_executed;
  const bool stepped_down_before = is_single(command) && (reply.ok ? reply.first_error_code == code::primary_stepped_down &&
                                                                         reply.write_concern_code == 0 && reply.n == 0
                                                                   : reply.code == code::primary_stepped_down);
  return stepped_down_before && command.kind == CommandKind::write ? Verdict::not_executed : Verdict::unknown;
}

}  // namespace

Reply read_reply(std::string_view body) {
  Reply reply;
  reply.body = body;
  bool inner = true, bulk = false;
  std::string_view cursor;
  const auto walk = for_each(body, [&](const Element& field) {
    inner = inner && read_field(field, reply);
    if (field.key == "cursor" && field.kind == Kind::document) cursor = field.bytes;
    if (field.key == "nErrors") bulk = true;
    if (std::ranges::find(bulk_counts, field.key) != bulk_counts.end()) reply.n += field.integer;
    return true;
  });
  if (bulk && !cursor.empty()) inner = inner && read_bulk_results(cursor, reply);
  reply.readable = walk == Walk::complete && inner;
  if (reply.ok) reply.code = 0;
  return reply;
}

namespace {

/// A mongos hides what befell its shards in writeErrors, with n: 0 even where a shard has done it.
Verdict judge_hidden_loss(const Command& command, const Reply& reply) {
  if (is_deduplicated(command)) return Verdict::try_again;
  const bool nothing_sent = reply.inner_network_code == code::failed_to_satisfy_read_preference;
  return nothing_sent || !command.acknowledged || command.in_transaction ? Verdict::believed : Verdict::unknown;
}

}  // namespace

Verdict judge(const Command& command, const Reply& reply) {
  if (!reply.readable) return Verdict::unknown;
  const bool changed = code::is_state_change(reply.code) || reply.inner_state_change != 0 || hides_interruption(reply);
  const bool idempotent = command.kind == CommandKind::read || command.kind == CommandKind::sessions;
  if (idempotent && !command.in_transaction) {
    return changed || code::is_retryable_read(reply.code) ? Verdict::try_again : Verdict::believed;
  }
  if (changed) return judge_state_change(command, reply);
  if (command.kind == CommandKind::write && reply.inner_network_code != 0) return judge_hidden_loss(command, reply);
  const bool repeatable =
      is_deduplicated(command) || command.kind == CommandKind::commit || command.kind == CommandKind::abort;
  // A mongos repeats these itself: that it found no primary in the end says nothing of what it sent before.
  const bool gave_up = code::is_network(reply.code) || reply.code == code::failed_to_satisfy_read_preference;
  if (repeatable && (reply.retryable_label || gave_up || code::is_network(reply.write_concern_code))) return Verdict::try_again;
  return Verdict::believed;
}

bool wants_login(const Reply& reply) {
  return reply.code == code::unauthorized && reply.message.find("requires authentication") != std::string_view::npos;
}

bool tells_of_the_repetition_only(const Command& command, const Reply& reply) {
  if (reply.ok) return false;
  return (command.name != "findAndModify" && command.name != "findandmodify") || code::is_apart_from_execution(reply.code);
}

bool tells_of_the_transaction(const Reply& reply) {
  // That a server knows of no transaction has the label only where a majority has heard that: else another one may be elected that does.
  return reply.ok || (reply.transient_label && !code::is_apart_from_execution(reply.code));
}

bool refuses_number(const Reply& reply) {
  return code::refuses_number(reply.code) || (reply.ok && reply.n == 0 && code::refuses_number(reply.first_error_code));
}

namespace {

/// Does it count each document of an insert? An update or delete may match nothing, and leaves no trace in the history then: servers go
/// through these one by one, and leave none out of an answer.
bool counts_all(const Command& command, std::size_t statements, const Reply& reply) {
  const bool may_match_nothing = command.name == "update" || command.name == "delete";
  const auto n = static_cast<std::size_t>(std::max<std::int64_t>(0, reply.n));
  const auto is_count_of = [&](std::size_t counted, std::size_t all) { return may_match_nothing ? counted <= all : counted == all; };
  // An ordered batch ends at its first error.
  if (command.ordered && reply.write_errors > 0) return is_count_of(n, reply.first_error_index);
  return is_count_of(n + reply.write_errors, statements);
}

}  // namespace

bool accounts_for(const Command& command, std::size_t statements, const Reply& reply) {
  if (command.name == "bulkWrite" && statements > 1) return false;  // of all kinds of statements
  if (!counts_all(command, statements, reply)) return false;
  // Before 5.0 an insert counts what it has in its history first, so that errors stand in the wrong places.
  const bool may_misplace = command.name == "insert" && !command.ordered && statements > 1;
  return !may_misplace || reply.write_errors == 0 || reply.known_again;
}

bool accounts_for_all(const Command& command, const Reply& reply) {
  return !reply.ok || command.statements <= 1 || accounts_for(command, command.statements, reply);
}

bool leaves_documents_out(const Command& command, const Reply& reply) {
  return command.name == "insert" && reply.ok && command.statements > 1 && !counts_all(command, command.statements, reply);
}

std::string error_body(const Error& error) {
  Writer writer;
  writer.real("ok", 0).text("errmsg", error.message).int32("code", error.code);
  const auto name = code::name_of(error.code);
  writer.text("codeName", name == "Location" ? "Location" + std::to_string(error.code) : std::string(name));
  if (error.labels.size() > 0) writer.texts("errorLabels", error.labels);
  return writer.finish();
}

std::string ok_body() {
  Writer writer;
  return writer.real("ok", 1).finish();
}

std::string no_cursors_body(const Command& command) {
  KilledCursors killed;
  killed.add_missing(command.cursors);
  return killed.body();
}

}  // namespace holdfast::mongo
