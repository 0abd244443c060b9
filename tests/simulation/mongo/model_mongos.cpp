// Routing, its own repetitions, and how it tells of a shard that it has lost.
#include "tests/simulation/mongo/model_mongos.hpp"

#include <algorithm>
#include <utility>

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/reply.hpp"

namespace holdfast::simulation::mongo {

using wire::CommandKind;
using wire::Writer;
namespace code = wire::code;
namespace label = wire::label;

namespace {

bool is_batch(const wire::Command& command) {
  return command.kind == CommandKind::write && command.name != "findAndModify" && !command.in_transaction;
}

/// What befell a batch stands in writeErrors: at its first statement where they are in order, else at each.
std::string hidden(const wire::Command& command, int number) {
  Writer list;
  const auto count = command.ordered ? 1 : std::max<std::size_t>(1, command.statements);
  for (std::size_t i = 0; i < count; ++i) {
    const auto each = Writer().int32("index", static_cast<std::int32_t>(i)).int32("code", number).text("errmsg", "of the shard").finish();
    list.document(std::to_string(i), each);
  }
  return Writer().int32("n", 0).array("writeErrors", list.finish()).real("ok", 1).finish();
}

std::string with_token(const std::string& body) {
  Writer writer;
  static_cast<void>(wire::for_each(body, [&](const wire::Element& field) { return writer.raw(field.raw), true; }));
  return writer.document("recoveryToken", Writer().text("recoveryShardId", "shard").finish()).finish();
}

}  // namespace

struct Mongos::Job {
  std::string frame;
  wire::Message request;
  wire::Command command;
  Done done;
  std::int64_t process = 0;
  Time patience{};
  unsigned attempts = 0;
  bool sent = false, answered = false, recovers = false;
  /// It may be sent to the shard again (batch_write_exec, cluster_find_and_modify, the commit's coordinator).
  [[nodiscard]] bool idempotent() const {
    return (wire::is_deduplicated(command) || command.kind == CommandKind::commit || command.kind == CommandKind::abort ||
            (command.kind == CommandKind::read && !command.in_transaction));
  }
};

Mongos::Mongos(Clock& clock, std::size_t at, ModelSet& shard, bool loses_shards)
    : index(at), clock_(clock), shard_(shard), loses_shards_(loses_shards) {}

wire::MemberHello Mongos::hello() const {
  wire::MemberHello made;
  made.ok = true;
  made.type = wire::MemberHello::Type::mongos;
  made.wire_max = 21;
  made.session_timeout_minutes = static_cast<std::int32_t>(shard_.rules.session_time.count());
  made.topology_version.emplace();
  made.topology_version->process[0] = static_cast<char>(index);
  made.topology_version->process[1] = static_cast<char>(process);
  return made;
}

void Mongos::kill() {
  up = frozen = false;
  ++process;
  cursors_.clear();
  transactions_.clear();
}

void Mongos::run(std::string frame, Done done) {
  const auto job = std::make_shared<Job>();
  job->frame = std::move(frame);
  static_cast<void>(wire::parse_message(job->frame, job->request));
  job->command = wire::read_command(job->request);
  job->done = std::move(done);
  job->process = process;
  job->patience = clock_.now() + clock_.between(50ms, 3s);
  const auto& command = job->command;
  if (command.kind == CommandKind::sessions) return answer(job, wire::ok_body());
  if (command.kind == CommandKind::get_more || command.kind == CommandKind::kill_cursors) return go_on_with_cursor(job);
  if (command.in_transaction && !join_transaction(job)) return;
  route(job);
}

void Mongos::route_later(const JobPointer& job, microseconds low, microseconds high) {
  clock_.after(clock_.between(low, high), [this, job] {
    if (job->process == process) route(job);
  });
}

void Mongos::answer(const JobPointer& job, const std::string& body) {
  if (job->process != process || job->answered) return;
  if (frozen) return clock_.after(10ms, [this, job, body] { answer(job, body); });
  job->answered = true;
  // One that is told to end interrupts what it has in hand, whatever the shard has done of it.
  if (!loses_shards_ || clock_.pick(1000) >= 4) return job->done(body);
  job->done(wire::error_body({clock_.chance(50) ? code::shutdown_in_progress : code::interrupted_at_shutdown, "the router ends", {}}));
  on_end();
}

void Mongos::fail(const JobPointer& job, int number) {
  if (is_batch(job->command)) return answer(job, hidden(job->command, number));
  if (job->command.in_transaction && job->command.kind != CommandKind::commit) {
    return answer(job, wire::error_body({number, "of the shard", {label::transient_transaction}}));
  }
  answer(job, wire::error_body({number, "of the shard", {}}));
}

// ---- what is its own ----

void Mongos::go_on_with_cursor(const JobPointer& job) {
  const auto& command = job->command;
  if (command.kind == CommandKind::kill_cursors) {
    for (const auto id : command.cursors) cursors_.erase(id);
    return answer(job, wire::no_cursors_body(command));
  }
  const auto found = cursors_.find(command.cursor);
  if (found == cursors_.end()) return fail(job, code::cursor_not_found);
  auto& member = shard_.at(found->second);
  if (!member.works()) return fail(job, clock_.chance(50) ? code::host_unreachable : code::cursor_not_found);
  answer(job, member.run(job->request, command, Interruption::none).body);
}

/// False where the command has been answered.
bool Mongos::join_transaction(const JobPointer& job) {
  const auto& command = job->command;
  const auto number = *command.transaction_number;
  const auto found = transactions_.find(command.session);
  if (command.starts_transaction) {
    // Begun is begun, whatever became of the statement that began it.
    if (found != transactions_.end() && found->second == number) {
      answer(job, wire::error_body({code::conflicting_operation, "already started", {}}));
      return false;
    }
    transactions_[std::string(command.session)] = number;
    return true;
  }
  if (found != transactions_.end() && found->second == number) return true;
  job->recovers = command.kind == CommandKind::commit && wire::find(job->request.body, "recoveryToken");
  if (job->recovers) return true;
  const bool begun_elsewhere = command.kind == CommandKind::commit || command.kind == CommandKind::abort;
  answer(job, begun_elsewhere ? wire::error_body({code::no_such_transaction, "not begun here", {}})
                              : wire::error_body({code::no_such_transaction, "not begun here", {label::transient_transaction}}));
  return false;
}

// ---- the shard ----

Member* Mongos::target(const Job& job) const {
  const bool elsewhere = job.command.kind == CommandKind::read && !job.command.in_transaction &&
                         job.command.preference.mode != wire::ReadMode::primary;
  auto& any = shard_.at(clock_.pick(shard_.size()));
  if (elsewhere && any.works()) return &any;
  auto* primary = shard_.primary();
  // A mongos knows elections, too.
  return primary != nullptr && primary->term == shard_.last_election() ? primary : nullptr;
}

void Mongos::route(const JobPointer& job) {
  if (frozen) return route_later(job, 5ms, 20ms);
  if (auto* member = target(*job)) return ask(job, *member);
  // What was sent before it may have been executed, and this answer says nothing of that.
  if (clock_.now() >= job->patience) return fail(job, code::failed_to_satisfy_read_preference);
  route_later(job, 5ms, 20ms);
}

void Mongos::ask(const JobPointer& job, Member& member) {
  const auto& command = job->command;
  // A commit of w: 1 that it repeated as it is could be told as lost and come back: the servers' flaw, not to be counted here.
  if (++job->attempts > 1 && command.kind == CommandKind::commit) job->command.majority = true;
  // The shard's word for a statement that it did not come to.
  if (loses_shards_ && job->attempts == 1 && is_batch(command) && clock_.pick(1000) < 15) {
    return fail(job, clock_.chance(50) ? code::max_time_expired : code::interrupted);
  }
  const bool loses = loses_shards_ && clock_.pick(1000) < (command.kind == CommandKind::commit ? 80 : 40);
  if (loses && clock_.chance(50)) {
    if (clock_.chance(50)) shard_.step_down(member.index);
    return on_lost(job, false);
  }
  const auto given = job->recovers ? member.recover(command) : member.run(job->request, command, Interruption::none);
  if (loses) {
    if (clock_.chance(50)) shard_.step_down(member.index);
    return on_lost(job, true);
  }
  if (given.wait_for > member.commit_point && !shard_.standalone()) return wait_for_majority(job, member, given);
  const auto reply = wire::read_reply(given.body);
  if (!reply.ok && is_batch(command)) return fail(job, reply.code);
  if (reply.cursor.value_or(0) != 0) cursors_[*reply.cursor] = member.index;
  answer(job, command.in_transaction ? with_token(given.body) : given.body);
}

void Mongos::wait_for_majority(const JobPointer& job, Member& member, const Member::Answer& given) {
  const auto attempt = job->attempts;
  member.waiting.emplace(given.wait_for, [this, job, attempt, body = given.body](bool known) {
    if (job->process != process || job->answered || job->attempts != attempt) return;
    known ? answer(job, body) : on_lost(job, true);
  });
  watch(job, member, member.process);
}

/// A member that dies or sleeps ends its connections, sooner or later.
void Mongos::watch(const JobPointer& job, Member& member, std::int64_t of_process) {
  clock_.after(clock_.between(10ms, 100ms), [this, job, &member, of_process, attempt = job->attempts] {
    if (job->process != process || job->answered || job->attempts != attempt) return;
    if (member.process == of_process && member.works()) return watch(job, member, of_process);
    on_lost(job, true);
  });
}

void Mongos::on_lost(const JobPointer& job, bool executed) {
  const auto& command = job->command;
  if (job->idempotent() && job->attempts < 3) return route_later(job, 1ms, 100ms);
  // The shard's own words, or 6 in their place.
  static constexpr int anyway[] = {code::host_unreachable, code::host_not_found, code::network_timeout, code::shutdown_in_progress,
                                   code::socket_exception, code::interrupted_at_shutdown, code::interrupted_by_state_change};
  const bool single = command.statements <= 1 && !command.multiple;
  if (!executed && !job->idempotent() && single && command.kind == CommandKind::write && clock_.chance(30)) {
    return fail(job, is_batch(command) ? code::primary_stepped_down : code::not_writable_primary);
  }
  // One shard refuses what is for several, and others have executed it.
  const bool several = command.kind == CommandKind::other || command.multiple;
  if (executed && several && clock_.chance(50)) return fail(job, code::not_writable_primary);
  fail(job, anyway[clock_.pick(std::size(anyway))]);
}

}  // namespace holdfast::simulation::mongo
