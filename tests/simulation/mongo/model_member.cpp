// What the server executes, and how it says so.
#include "tests/simulation/mongo/model_member.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <utility>

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/reply.hpp"
#include "protocol/mongo/several.hpp"

namespace holdfast::simulation::mongo {

using wire::CommandKind;
using wire::Writer;
namespace code = wire::code;
namespace label = wire::label;
using Answer = Member::Answer;

namespace {

constexpr int bad_value = 2;

struct Statement {
  std::vector<int> marks;  // a negative one is a duplicate of a document that is there for good; an update of 0 matches nothing
};

void read_marks(std::string_view statement, Statement& into) {
  static_cast<void>(wire::for_each(statement, [&](const wire::Element& field) {
    if (field.key.starts_with("mark") && field.whole) into.marks.push_back(static_cast<int>(field.integer));
    return true;
  }));
}

std::vector<Statement> statements_of(const wire::Message& request) {
  std::vector<Statement> all;
  for (const auto& sequence : request.sequences) {
    wire::for_each_document(sequence, [&](std::string_view each) { read_marks(each, all.emplace_back()); });
  }
  for (const auto key : {"documents", "updates"}) {
    const auto list = wire::find(request.body, key);
    if (!list) continue;
    static_cast<void>(wire::for_each(list->bytes, [&](const wire::Element& each) {
      read_marks(each.bytes, all.emplace_back());
      return true;
    }));
  }
  if (all.empty()) read_marks(request.body, all.emplace_back());
  return all;
}

/// By which numbers the session knows the statements again.
std::vector<std::size_t> numbers_of(const wire::Message& request, std::size_t count) {
  std::vector<std::size_t> numbers;
  if (const auto all = wire::find(request.body, "stmtIds")) {
    static_cast<void>(wire::for_each(all->bytes, [&](const wire::Element& each) {
      numbers.push_back(static_cast<std::size_t>(each.integer));
      return true;
    }));
    EXPECT_EQ(numbers.size(), count) << "a server refuses that";
  }
  const auto first = wire::find(request.body, "stmtId");
  while (numbers.size() < count) numbers.push_back(numbers.size() + static_cast<std::size_t>(first ? first->integer : 0));
  return numbers;
}

std::string error(int number, std::initializer_list<std::string_view> labels = {}) {
  return wire::error_body({number, "the member says no", labels});
}

Answer refusal(int number, std::initializer_list<std::string_view> labels = {}) { return {error(number, labels), 0}; }

struct WriteErrors {
  Writer list;
  std::size_t count = 0;
  void add(std::size_t index, int number) {
    list.document(std::to_string(count++), Writer().int32("index", static_cast<std::int32_t>(index)).int32("code", number)
                                               .text("errmsg", "not this one").finish());
  }
};

}  // namespace

std::string Member::election_id(std::int64_t of) const {
  std::string id("\x7f\xff\xff\xff", 4);
  for (int shift = 56; shift >= 0; shift -= 8) id += static_cast<char>((of >> shift) & 0xff);
  return id;
}

wire::MemberHello Member::hello(const std::vector<std::string>& addresses) const {
  wire::MemberHello made;
  made.ok = true;
  made.wire_max = 21;
  made.session_timeout_minutes = static_cast<std::int32_t>(rules_.session_time.count());
  if (standalone_) {
    made.type = wire::MemberHello::Type::standalone;
    return made;
  }
  made.type = role_primary ? wire::MemberHello::Type::primary : wire::MemberHello::Type::secondary;
  made.set_name = "rs";
  made.hosts = addresses;
  made.me = addresses[index];
  made.topology_version.emplace();
  made.topology_version->process[0] = static_cast<char>(index);
  made.topology_version->process[1] = static_cast<char>(process);
  made.topology_version->counter = changes;
  made.set_version = 1;
  made.has_set_version = true;
  if (role_primary) made.election_id = election_id(term);
  return made;
}

// ---- the oplog ----

void Member::apply(const Entry& entry) {
  for (const int mark : entry.marks) ++rows[mark];
  if (entry.session.empty()) return;
  auto& record = sessions_[entry.session];
  if (record.number != entry.number) record = {entry.number, {}, entry.transaction, {}};
  record.statements.insert(entry.statement);
  record.used = entry.at;
}

void Member::append(std::shared_ptr<Entry> entry) {
  apply(*entry);
  log.push_back(std::move(entry));
}

void Member::truncate(std::size_t size, std::set<int>& lost) {
  for (auto i = size; i < log.size(); ++i) {
    EXPECT_FALSE(log[i]->committed) << "the model rolls back what the majority knows";
    lost.insert(log[i]->marks.begin(), log[i]->marks.end());
  }
  log.resize(size);
  rows.clear();
  sessions_.clear();
  for (const auto& entry : log) apply(*entry);
}

void Member::write_entry(const std::vector<int>& marks, const wire::Command* command, std::size_t statement, bool transaction) {
  auto entry = std::make_shared<Entry>();
  entry->term = term;
  entry->marks = marks;
  entry->at = clock_.now();
  if (command != nullptr && command->transaction_number && !standalone_) {
    entry->session = command->session;
    entry->number = *command->transaction_number;
    entry->statement = statement;
    entry->transaction = transaction;
  }
  append(std::move(entry));
}

void Member::step_down() {
  if (!std::exchange(role_primary, false)) return;
  ++changes;
  open_.clear();
  for (auto& [entries, done] : std::exchange(waiting, {})) done(false);
}

void Member::kill() {
  up = frozen = role_primary = false;
  ++process;
  open_.clear();
  cursors_.clear();
  waiting.clear();  // nobody is answered
}

void Member::restart() {
  up = true;
  changes = 0;
  role_primary = standalone_;
}

std::string Member::interrupted(const std::string& body, int number, bool at_root) {
  if (at_root) return error(number);
  Writer writer;
  static_cast<void>(wire::for_each(body, [&](const wire::Element& field) { return writer.raw(field.raw), true; }));
  return writer.document("writeConcernError", Writer().int32("code", number).text("errmsg", "interrupted").finish()).finish();
}

// ---- commands ----

Answer Member::run(const wire::Message& request, const wire::Command& command, Interruption interruption) {
  const bool reads = command.kind == CommandKind::read || command.kind == CommandKind::sessions;
  const bool elsewhere = reads && command.preference.mode != wire::ReadMode::primary && !command.in_transaction;
  const bool of_process = command.kind == CommandKind::get_more || command.kind == CommandKind::kill_cursors || command.everywhere;
  if (!role_primary && !of_process && !elsewhere) {
    return refusal(reads ? code::not_primary_no_secondary_ok : code::not_writable_primary);
  }
  if (interruption == Interruption::refused && !of_process) {
    return refusal(reads ? code::not_primary_no_secondary_ok : code::not_writable_primary);
  }
  if (interruption != Interruption::none && (reads || of_process)) return refusal(code::interrupted_by_state_change);
  switch (command.kind) {
    case CommandKind::read: return command.in_transaction ? in_transaction(request, command) : find(request, command);
    case CommandKind::sessions: return command.everywhere ? kill_sessions(request) : Answer{wire::ok_body(), 0};
    case CommandKind::get_more: return get_more(command);
    case CommandKind::kill_cursors: return kill_cursors(command);
    case CommandKind::commit: return commit(command, interruption);
    case CommandKind::abort: return abort(command);
    case CommandKind::write:
      if (!command.in_transaction) return write(request, command, interruption);
      if (interruption != Interruption::none) return refusal(code::interrupted_by_state_change, {label::transient_transaction});
      return in_transaction(request, command);
    default: return other(request, interruption);
  }
}

Member::Result Member::execute_one(const std::vector<int>& marks, const wire::Command& command, std::size_t number) {
  if (marks.empty() || marks.front() == unfit_mark) return {0, bad_value};
  if (marks.front() < 0) return {0, code::duplicate_key};
  if (marks.front() == 0) return {};
  if (!command.multiple) {
    write_entry(marks, &command, number, false);
    return {1, 0};
  }
  for (const int mark : marks) write_entry({mark}, nullptr, number, false);
  return {static_cast<int>(marks.size()), 0};
}

/// Up to 4.4 an insert counts at once what it knows again, and executes the rest when the last document has come: not at all where that is
/// one that it knows. And one that no collection could take has no number there.
std::vector<Member::Result> Member::execute(const wire::Message& request, const wire::Command& command, std::size_t end, const Record& known) {
  const auto statements = statements_of(request);
  const auto numbers = numbers_of(request, statements.size());
  const bool flawed = old_ && command.name == "insert";
  std::vector<Result> results;
  std::vector<std::pair<std::size_t, std::size_t>> gathered;  // statement and number
  std::size_t next = 0;
  for (std::size_t i = 0; i < end; ++i) {
    const bool unfit = !statements[i].marks.empty() && statements[i].marks.front() == unfit_mark;
    const auto number = numbers[flawed ? next : i];
    if (!unfit) ++next;
    if (!unfit && known.statements.contains(number)) {
      results.push_back({1, 0});
      continue;
    }
    gathered.emplace_back(i, number);
    if (flawed && !unfit && i + 1 < end) continue;
    for (const auto& [at, its_number] : std::exchange(gathered, {})) {
      results.push_back(execute_one(statements[at].marks, command, its_number));
      if (results.back().code != 0 && command.ordered) return results;
    }
  }
  return results;
}

Answer Member::write(const wire::Message& request, const wire::Command& command, Interruption interruption) {
  const bool numbered = command.transaction_number && !standalone_;
  static const Record nothing;
  auto known = nothing;
  if (takes_no_number(command)) return refuse_number();
  if (numbered && !is_impostor()) {
    known = record_of(command.session);
    if (*command.transaction_number < known.number) return refusal(code::transaction_too_old);
    if (*command.transaction_number > known.number) known = nothing;
    forget_older(command);
  }
  const auto statements = statements_of(request);
  const bool single = statements.size() == 1 && !command.multiple;
  if (interruption == Interruption::before && single) return refusal(code::primary_stepped_down);
  const bool at_all = interruption == Interruption::none || interruption == Interruption::at_the_root || clock_.chance(50);
  std::size_t end = statements.size();
  if (interruption == Interruption::in_the_middle) end = clock_.pick(statements.size());
  WriteErrors errors;
  std::int32_t done = 0;
  const auto numbers = numbers_of(request, statements.size());
  const bool repeated = std::ranges::any_of(numbers, [&](const auto number) { return known.statements.contains(number); });
  if (repeated && clock_.chance(4)) return refusal(code::incomplete_history);
  const auto results = execute(request, command, at_all ? end : 0, known);
  for (std::size_t i = 0; i < results.size(); ++i) {
    done += results[i].n;
    if (results[i].code != 0) errors.add(i, results[i].code);
  }
  if (command.multiple && interruption == Interruption::in_the_middle) write_entry({statements.front().marks.front()}, nullptr, 0, false);
  switch (interruption) {
    case Interruption::at_the_root: return refusal(code::interrupted_by_state_change);
    case Interruption::shutting_down: return refusal(clock_.chance(50) ? code::shutdown_in_progress : code::interrupted_at_shutdown);
    case Interruption::network_label:
      return numbered ? refusal(code::socket_exception, {label::retryable_write}) : refusal(code::socket_exception);
    default: break;
  }
  const bool never_begun = interruption == Interruption::in_the_middle && single && done == 0 && clock_.chance(50);
  if (interruption == Interruption::in_the_middle || interruption == Interruption::hidden || interruption == Interruption::before) {
    errors.add(std::min(end, statements.size() - 1), never_begun ? code::primary_stepped_down : code::interrupted_by_state_change);
    if (interruption == Interruption::hidden) done = 0;
  }
  Writer reply;
  if (command.name == "findAndModify") {
    Writer value;
    value.int32("m", statements.front().marks.front());
    if (repeated) value.int32("secret", 1);  // SERVER-31242
    reply.document("value", value.finish());
  } else {
    reply.int32("n", done);
  }
  if (errors.count > 0) reply.array("writeErrors", errors.list.finish());
  if (repeated && !old_) reply.array("retriedStmtIds", Writer().int32("0", 0).finish());
  if (!standalone_ && command.name != "findAndModify") {
    wire::ObjectId id{};
    std::ranges::copy(election_id(term), id.begin());
    reply.object_id("electionId", id);
  }
  return {reply.real("ok", 1).finish(), wait_of(command)};
}

Answer Member::other(const wire::Message& request, Interruption interruption) {
  const auto marks = statements_of(request).front().marks;
  const bool done = interruption == Interruption::none || clock_.chance(50);
  if (done && !marks.empty()) write_entry(marks, nullptr, 0, false);
  if (interruption != Interruption::none) return refusal(code::interrupted_by_state_change);
  return {wire::ok_body(), 0};
}

Answer Member::find(const wire::Message& request, const wire::Command& command) {
  if (command.name == "ping") return {wire::ok_body(), 0};
  const auto wanted = wire::find(request.body, "mark");
  const auto found = wanted ? rows.find(static_cast<int>(wanted->integer)) : rows.end();
  const auto batch = wire::find(request.body, "batchSize");
  std::int64_t cursor = 0;
  if (batch) {
    cursor = static_cast<std::int64_t>(index + 1) * 1'000'000'000 + process * 1'000'000 + ++last_cursor_;
    cursors_[cursor] = {1, static_cast<int>(2 + clock_.pick(5)), std::string(command.session), clock_.now()};
  }
  const auto seen = Writer().int32("seen", found == rows.end() ? 0 : found->second).int32("at", 0).finish();
  const auto documents = Writer().document("0", seen).finish();
  const auto body = Writer().int64("id", cursor).text("ns", "shop.t").array("firstBatch", documents).finish();
  return {Writer().document("cursor", body).real("ok", 1).finish(), 0};
}

Answer Member::get_more(const wire::Command& command) {
  const auto found = cursors_.find(command.cursor);
  if (found == cursors_.end()) return refusal(code::cursor_not_found);
  const auto documents = Writer().document("0", Writer().int32("at", found->second.next++).finish()).finish();
  const bool ends = --found->second.left == 0;
  if (ends) cursors_.erase(found);
  const auto body = Writer().int64("id", ends ? 0 : command.cursor).text("ns", "shop.t").array("nextBatch", documents).finish();
  return {Writer().document("cursor", body).real("ok", 1).finish(), 0};
}

Answer Member::kill_cursors(const wire::Command& command) {
  std::array<Writer, 2> lists;  // killed, not found
  std::array<std::size_t, 2> counts{};
  for (const auto id : command.cursors) {
    const std::size_t which = cursors_.erase(id) > 0 ? 0 : 1;
    lists[which].int64(std::to_string(counts[which]++), id);
  }
  return {Writer().array("cursorsKilled", lists[0].finish()).array("cursorsNotFound", lists[1].finish()).real("ok", 1).finish(), 0};
}

Answer Member::kill_sessions(const wire::Message& request) {
  for (const auto& id : wire::sessions_to_kill(request.body)) {
    open_.erase(id);
    std::erase_if(cursors_, [&](const auto& each) { return each.second.session == id; });
  }
  return {wire::ok_body(), 0};
}

bool Member::has_of(const std::string& session, Time before) const {
  const auto open = open_.find(session);
  return (open != open_.end() && open->second.since < before) ||
         std::ranges::any_of(cursors_, [&](const auto& each) { return each.second.session == session && each.second.since < before; });
}

// ---- transactions ----

/// A session has one transaction: a newer number ends the one before it.
void Member::forget_older(const wire::Command& command) {
  const auto found = open_.find(command.session);
  if (found != open_.end() && found->second.number < *command.transaction_number) open_.erase(found);
}

Answer Member::in_transaction(const wire::Message& request, const wire::Command& command) {
  const auto number = *command.transaction_number;
  const auto& known = record_of(command.session);
  if (number < known.number) return refusal(code::transaction_too_old);
  forget_older(command);
  auto found = open_.find(command.session);
  if (command.starts_transaction) {
    if (found != open_.end() || known.number == number) return refusal(code::conflicting_operation);
    found = open_.emplace(std::string(command.session), Open{number, {}, clock_.now()}).first;
  } else if (found == open_.end() || found->second.number != number) {
    return refusal(code::no_such_transaction, {label::transient_transaction});
  }
  if (command.kind == CommandKind::read) return find(request, command);
  std::int32_t done = 0;
  for (const auto& statement : statements_of(request)) {
    for (const int mark : statement.marks) found->second.marks.push_back(mark);
    ++done;
  }
  return {Writer().int32("n", done).real("ok", 1).finish(), 0};
}

Answer Member::commit(const wire::Command& command, Interruption interruption) {
  const auto number = *command.transaction_number;
  const bool done = interruption == Interruption::none || interruption == Interruption::at_the_root || clock_.chance(50);
  const auto found = open_.find(command.session);
  const auto& known = record_of(command.session);
  Answer answer{wire::ok_body(), 0};
  if (found != open_.end() && found->second.number == number) {
    const auto marks = found->second.marks;
    if (done) open_.erase(found);
    if (done && !marks.empty()) write_entry(marks, &command, 0, true);
  } else if (known.number != number || !known.transaction) {
    answer.body = error(code::no_such_transaction, {label::transient_transaction});
  }
  if (interruption == Interruption::network_label) return refusal(code::socket_exception, {label::retryable_write});
  if (interruption != Interruption::none) return refusal(code::interrupted_by_state_change, {label::retryable_write});
  answer.wait_for = wait_of(command);
  return answer;
}

Answer Member::abort(const wire::Command& command) {
  const auto found = open_.find(command.session);
  if (found != open_.end() && found->second.number == *command.transaction_number) {
    open_.erase(found);
    return {wire::ok_body(), 0};
  }
  const auto& known = record_of(command.session);
  const bool committed = known.number == *command.transaction_number && known.transaction;
  return refusal(committed ? code::transaction_committed : code::no_such_transaction);
}

}  // namespace holdfast::simulation::mongo
