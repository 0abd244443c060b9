// Every command under every sequence of events up to a length: what may have been executed is never sent twice where that
// shows, and each command ends.
#include "mongo_operation_script.hpp"

namespace holdfast::proxy::mongo {
namespace {

enum class Event { believed, refused_by_member, logged_out, interrupted, lost, unsent, no_member };
constexpr Event events[] = {Event::believed, Event::refused_by_member, Event::logged_out, Event::interrupted,
                            Event::lost, Event::unsent, Event::no_member};

bool exactly_once_is_in_danger(const wire::Command& command, bool deduplicates) {
  switch (command.kind) {
    case Kind::read:
    case Kind::sessions:
    case Kind::kill_cursors: return false;
    case Kind::commit:
    case Kind::abort: return !deduplicates;
    case Kind::write: return !(deduplicates && wire::is_deduplicated(command));
    default: return true;
  }
}

/// Runs one sequence; returns how many events it took.
void run(const wire::Command& command, bool deduplicates, const std::vector<Event>& sequence) {
  OperationSettings settings;
  settings.deduplicates = deduplicates;
  Script script(command, command.kind == Kind::get_more ? at(1) : Places::Place(), settings);
  script.start();
  bool may_have_run = false;
  for (const auto event : sequence) {
    if (script.selects() || script.uses()) {
      if (event == Event::no_member) {
        script.selects() ? script.refused() : script.unreachable();
        if (!script.sends()) continue;
      }
      script.member();
    }
    if (!script.sends()) break;
    EXPECT_FALSE(may_have_run && exactly_once_is_in_danger(command, deduplicates)) << "sent after it may have been executed";
    switch (event) {
      case Event::believed: script.reply(0); break;
      case Event::refused_by_member: script.reply(10107); break;
      case Event::logged_out: script.reply_with(reply_body(13), Machine::Replier::logged_out); break;
      case Event::interrupted: script.reply(11602); may_have_run = true; break;
      case Event::lost: script.lost(); may_have_run = true; break;
      case Event::unsent: script.unsent(); break;
      case Event::no_member: script.lost(); may_have_run = true; break;
    }
    if (event == Event::believed) {
      EXPECT_TRUE(script.forwards());
    }
  }
  if (script.forwards() || script.answers()) return;
  // However it stands, the end of its wait ends it.
  script.wait(31s);
  if (script.selects()) {
    EXPECT_TRUE(script.refused().answers());
  } else if (script.uses()) {
    EXPECT_TRUE(script.unreachable().answers());
  }
}

void all_sequences(const wire::Command& command, bool deduplicates, std::vector<Event>& sequence, std::size_t left) {
  run(command, deduplicates, sequence);
  if (left == 0) return;
  for (const auto event : events) {
    sequence.push_back(event);
    all_sequences(command, deduplicates, sequence, left - 1);
    sequence.pop_back();
  }
}

TEST(MongoOperationEverywhere, what_may_have_been_executed_is_never_sent_again_where_that_would_show) {
  std::vector<wire::Command> commands;
  for (const auto kind : {Kind::read, Kind::write, Kind::get_more, Kind::kill_cursors, Kind::commit, Kind::abort, Kind::sessions, Kind::other}) {
    commands.push_back(command_of(kind));
    commands.push_back(in_transaction(kind));
    commands.push_back(in_transaction(kind, true));
  }
  commands.push_back(numbered_write());
  commands.push_back(numbered_write());
  commands.back().multiple = true;
  commands.push_back(numbered_write());
  commands.back().acknowledged = false;
  for (const auto& command : commands) {
    for (const bool deduplicates : {true, false}) {
      std::vector<Event> sequence;
      all_sequences(command, deduplicates, sequence, 4);
    }
  }
}

TEST(MongoOperationEverywhere, a_member_that_refuses_for_ever_does_not_hold_a_command_for_ever) {
  for (const auto& command : {command_of(Kind::read), command_of(Kind::other), numbered_write(), in_transaction(Kind::commit)}) {
    Script script(command);
    script.start();
    for (int i = 0; i < 1000 && !script.answers(); ++i) script.wait(50ms).member().reply(10107);
    EXPECT_TRUE(script.answers());
  }
}

}  // namespace
}  // namespace holdfast::proxy::mongo
