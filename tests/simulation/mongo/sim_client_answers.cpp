// How a simulated driver reads its answers, and what it believes after them.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "protocol/mongo/frame.hpp"
#include "tests/simulation/mongo/sim_client.hpp"

namespace holdfast::simulation::mongo {

namespace code = wire::code;

bool SimClient::Reply::never_ran() const {
  return fields.code == code::failed_to_satisfy_read_preference || fields.code == code::request_rate_limit_exceeded ||
         fields.code == code::max_time_expired;
}

void SimClient::check_reply(const Reply& reply) const {
  EXPECT_TRUE(reply.fields.readable);
  EXPECT_FALSE(code::is_state_change(reply.fields.code) || reply.fields.inner_state_change != 0)
      << "a client is told of a change of state: " << reply.fields.code << ' ' << reply.fields.inner_state_change;
  // A mongos may say so of a connection of its own.
  EXPECT_FALSE(reply.fields.code == code::unauthorized && !options_.of_mongos) << "a client is told that it is not logged in";
}

void SimClient::received(const std::string& frame) {
  if (done_) return;
  wire::Message message;
  ASSERT_EQ(wire::parse_message(frame, message), wire::FrameError::none);
  ASSERT_TRUE(then_) << "an answer that nobody waits for";
  ASSERT_EQ(message.header.response_to, last_request_);
  Reply reply{wire::read_reply(message.body), message.body, false};
  check_reply(reply);
  if (reply.fields.code == code::reauthentication_required) return log_in_again();
  if (const auto labels = wire::find(message.body, "errorLabels")) {
    static_cast<void>(wire::for_each(labels->bytes, [&](const wire::Element& each) {
      reply.unknown_commit = reply.unknown_commit || each.bytes == wire::label::unknown_commit;
      return true;
    }));
  }
  history_ += reply.fields.ok ? " <ok" : " <E" + std::to_string(reply.fields.code);
  waiting_since_.reset();
  const auto then = std::exchange(then_, nullptr);
  then(reply);
}

void SimClient::hang_up() {
  history_ += " hangs up";
  waiting_since_.reset();
  if (!then_) return;
  // What a driver makes of it: with each of the labels, for whatever was under way.
  Reply reply{{}, {}, true};
  reply.fields.code = code::host_unreachable;
  reply.fields.retryable_label = reply.fields.transient_label = true;
  const auto then = std::exchange(then_, nullptr);
  then(reply);
}

void SimClient::believe(int mark, Belief belief) {
  if (mark <= 0) return;
  ledger_.marks[mark] = belief;
  if (belief == Belief::majority) mine_.push_back(mark);
  ++(belief == Belief::unknown ? totals_.unknown : belief == Belief::never_ran ? totals_.never_ran : totals_.acknowledged);
}

namespace {

/// The statements that failed, by the answer.
std::vector<std::size_t> failed_in(std::string_view body) {
  std::vector<std::size_t> failed;
  const auto errors = wire::find(body, "writeErrors");
  if (!errors) return failed;
  static_cast<void>(wire::for_each(errors->bytes, [&](const wire::Element& each) {
    failed.push_back(static_cast<std::size_t>(wire::find(each.bytes, "index")->integer));
    return true;
  }));
  return failed;
}

}  // namespace

void SimClient::on_written(const Write& write, const Reply& reply) {
  const auto& fields = reply.fields;
  const auto acknowledged = write.majority ? Belief::majority : Belief::one;
  for (const int number : {fields.code, fields.first_error_code}) {
    const bool of_numbers = code::refuses_number(number) || code::is_caused_by_repetition(number);
    EXPECT_FALSE(of_numbers && !write.numbered) << "a client is told of a number that it did not give: " << number;
  }
  if (!fields.ok) {
    // A server's own error says that it has refused the command, unless it is one of a network.
    const bool repeated = options_.of_mongos && code::is_caused_by_repetition(fields.code);  // by the mongos
    const bool refused = reply.never_ran() || !(code::is_network(fields.code) || repeated);
    const auto belief = refused && write.tries == 1 ? Belief::never_ran : Belief::unknown;
    for (const auto& marks : write.statements) {
      for (const int mark : marks) believe(mark, belief);
    }
    return;
  }
  EXPECT_EQ(fields.write_concern_code, 0);
  const bool repeated = options_.of_mongos && code::is_caused_by_repetition(fields.first_error_code);
  // The statement's own, of the shard, which was asked for it and did not come to it.
  const bool not_reached = options_.of_mongos && code::is_apart_from_execution(fields.first_error_code);
  if (fields.inner_network_code != 0 || repeated || not_reached) {
    EXPECT_TRUE(repeated || not_reached || fields.inner_network_code == code::failed_to_satisfy_read_preference) << "what a mongos does not know is told as an answer";
    for (const auto& marks : write.statements) {
      for (const int mark : marks) believe(mark, write.tries == 1 && !repeated ? Belief::never_ran : Belief::unknown);
    }
    return;
  }
  // What a driver or a mongos repeats itself is answered from the server's history, with the flaws of that.
  const bool exact = write.tries == 1 && !(options_.of_mongos && write.numbered);
  if (const auto value = wire::find(reply.body, "value"); value && write.projects && exact) {
    EXPECT_TRUE(wire::find(value->bytes, "m")) << "findAndModify leaves out what was asked for";
    EXPECT_FALSE(wire::find(value->bytes, "secret")) << "findAndModify gives fields that were not asked for";
  }
  std::size_t good = 0;
  std::vector<std::size_t> bad;
  for (std::size_t i = 0; i < write.statements.size(); ++i) {
    const auto& marks = write.statements[i];
    const bool reached = !write.ordered || bad.empty();
    if (reached && marks.front() < 0) bad.push_back(i);
    if (reached && marks.front() > 0) good += marks.size();
    for (const int mark : marks) believe(mark, reached ? acknowledged : Belief::never_ran);
  }
  if (fields.has_n && (exact || (write.inserts && !options_.of_imitation))) {
    const auto failed = failed_in(reply.body);
    EXPECT_EQ(failed.size(), bad.size()) << "the errors of a batch";
    EXPECT_TRUE(!exact || failed == bad) << "their places";
    EXPECT_EQ(static_cast<std::size_t>(fields.n), good) << "the documents of a batch";
  }
}

}  // namespace holdfast::simulation::mongo
