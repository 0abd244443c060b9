// Row 4 for batches: what is sent again after an answer that leaves something out, and what its client gets.
#include <functional>

#include "mongo_batch_script.hpp"
#include "mongo_operation_script.hpp"

namespace holdfast::proxy::mongo {
namespace {

using Numbers = std::vector<std::int64_t>;
using Places = std::vector<std::pair<int, int>>;

class BatchScript : public Script {
 public:
  explicit BatchScript(const Batch& of) : Script(of.message, of.command), batch_(of) { start(); }
  /// The numbers of what goes out; none: the batch as it is.
  [[nodiscard]] Numbers asks_for() const {
    const auto& sent = std::get<operation_step::Send>(step).body;
    return sent ? numbers_of(*sent) : Numbers();
  }
  [[nodiscard]] std::string_view told() const { return *std::get<operation_step::Forward>(step).body; }

 private:
  Batch batch_;
};

TEST(MongoOperationBatch, the_first_answer_is_the_answer_and_a_second_one_that_accounts_for_all) {
  BatchScript first(Batch("update", 4));
  EXPECT_TRUE(first.member().reply_with(answer(3)).forwards()) << "one matched nothing";
  BatchScript misplaced(Batch("insert", 4).unordered());
  EXPECT_TRUE(misplaced.member().reply_with(answer(3, {{2, 11000}})).forwards()) << "the first answer is right about places";
  for (const auto* name : {"update", "delete"}) {
    // One that has matched nothing leaves no trace: asked for by itself it would be executed behind those that come after it.
    BatchScript nothing(Batch(name, 4));
    EXPECT_TRUE(nothing.member().lost().member().reply_with(answer(3)).forwards()) << name;
    BatchScript failed(Batch(name, 4));
    EXPECT_TRUE(failed.member().lost().member().reply_with(answer(1, {{2, 11000}})).forwards()) << name;
    BatchScript absurd(Batch(name, 4));
    EXPECT_EQ(absurd.member().lost().member().reply_with(answer(5)).code(), 6) << name;
  }
  BatchScript second(Batch("insert", 4).unordered());
  EXPECT_TRUE(second.member().lost().member().reply_with(answer(4)).forwards());
  EXPECT_FALSE(std::get<operation_step::Forward>(second.step).body) << "as it came";
}

TEST(MongoOperationBatch, what_a_second_answer_leaves_out_is_asked_for_over_the_same_connection) {
  BatchScript script(Batch("insert", 4).unordered());
  script.member().lost().member();
  EXPECT_EQ(script.asks_for(), Numbers());
  ASSERT_TRUE(script.reply_with(answer(3)).sends()) << "captured: [A, B, A, C] without its error";
  EXPECT_EQ(script.asks_for(), (Numbers{0, 1}));
  ASSERT_TRUE(script.reply_with(answer(2)).sends());
  EXPECT_EQ(script.asks_for(), (Numbers{2, 3}));
  script.reply_with(answer(1)).reply_with(answer(0, {{0, 11000}}));
  EXPECT_EQ(script.asks_for(), (Numbers{3}));
  ASSERT_TRUE(script.reply_with(answer(1)).forwards());
  EXPECT_EQ(wire::read_reply(script.told()).n, 3);
  EXPECT_EQ(errors_of(script.told()), (Places{{2, 11000}}));
}

TEST(MongoOperationBatch, a_first_answer_that_leaves_documents_out_is_one_to_a_repetition_of_somebody_elses) {
  BatchScript script(Batch("insert", 2).unordered());
  ASSERT_TRUE(script.member().reply_with(answer(1)).sends());
  EXPECT_EQ(script.asks_for(), (Numbers{0}));
  script.reply_with(answer(0, {{0, 11000}})).reply_with(answer(1));
  ASSERT_TRUE(script.forwards());
  EXPECT_EQ(errors_of(script.told()), (Places{{0, 11000}}));
  BatchScript lost(Batch("insert", 2).unordered());
  lost.member().reply_with(answer(1)).lost();
  EXPECT_EQ(lost.refused().code(), 6) << "not told as never executed";
  auto settings = Script::defaults();
  settings.deduplicates = false;
  const Batch batch = Batch("insert", 2).unordered();
  Script alone(batch.message, batch.command, settings);
  EXPECT_TRUE(alone.start().member().reply_with(answer(1)).forwards()) << "its server knows nothing again";
}

TEST(MongoOperationBatch, errors_in_places_that_may_be_wrong_are_asked_for) {
  BatchScript script(Batch("insert", 2).unordered());
  ASSERT_TRUE(script.member().lost().member().reply_with(answer(1, {{1, 11000}})).sends());
  script.reply_with(answer(0, {{0, 11000}})).reply_with(answer(1));
  ASSERT_TRUE(script.forwards());
  EXPECT_EQ(errors_of(script.told()), (Places{{0, 11000}}));
}

TEST(MongoOperationBatch, a_part_that_is_lost_or_refused_or_interrupted_is_sent_again_elsewhere) {
  const std::vector<std::function<void(Script&)>> losses{
      [](Script& script) { script.lost(); },
      [](Script& script) { script.unsent(); },
      [](Script& script) { script.reply(10107); },
      [](Script& script) { script.reply(11602); },
      [](Script& script) { script.reply_with(answer(0, {{0, 11602}})); },
      [](Script& script) { script.reply_with(answer(2), Machine::Replier::replaced); },
      [](Script& script) { script.reply_with(reply_body(13), Machine::Replier::logged_out); }};
  for (const auto& loss : losses) {
    BatchScript script(Batch("insert", 4));
    script.member().lost().member().reply_with(answer(3)).reply_with(answer(2));
    ASSERT_EQ(script.asks_for(), (Numbers{2, 3}));
    loss(script);
    ASSERT_TRUE(script.asks_first());
    ASSERT_TRUE(script.member().sends());
    EXPECT_EQ(script.asks_for(), (Numbers{2, 3}));
    ASSERT_TRUE(script.reply_with(answer(2)).forwards());
    EXPECT_EQ(wire::read_reply(script.told()).n, 4);
  }
}

TEST(MongoOperationBatch, what_only_a_repetition_can_cause_and_what_no_server_says_is_outcome_unknown) {
  for (const auto& body : {reply_body(217), reply_body(225), reply_body(13), answer(0, {{0, 217}}), answer(0)}) {
    BatchScript script(Batch("insert", 2));
    script.member().lost().member().reply_with(answer(1));
    ASSERT_EQ(script.asks_for(), (Numbers{0}));
    EXPECT_EQ(script.reply_with(body).code(), 6);
    EXPECT_NE(script.message().find("outcome unknown"), std::string::npos);
    EXPECT_TRUE(script.labels().empty());
  }
}

TEST(MongoOperationBatch, a_batch_that_cannot_be_asked_for_by_its_statements_is_outcome_unknown) {
  BatchScript unfit(Batch("insert", 3).unordered());
  EXPECT_EQ(unfit.member().lost().member().reply_with(answer(1, {{0, 2}})).code(), 6);
  BatchScript mixed(Batch("bulkWrite", 3));
  EXPECT_EQ(mixed.member().lost().member().reply_with(answer(1)).code(), 6);
}

TEST(MongoOperationBatch, each_part_has_what_is_left_of_the_time_that_the_client_gave) {
  BatchScript script(Batch("insert", 2).with(wire::Writer().int32("maxTimeMS", 10'000).finish()));
  script.member().wait(2s).lost().member().wait(1s).reply_with(answer(1));
  EXPECT_EQ(wire::find(*std::get<operation_step::Send>(script.step).body, "maxTimeMS")->integer, 7'000);
  EXPECT_EQ(script.asks_for(), (Numbers{0}));
  EXPECT_EQ(script.wait(8s).reply_with(answer(1)).code(), 6);
}

TEST(MongoOperationBatch, a_part_that_is_lost_gets_a_wait_of_its_own_but_none_once_servers_may_have_forgotten) {
  BatchScript script(Batch("insert", 8));
  script.member().lost().wait(20s).member().reply_with(answer(7)).reply_with(answer(4)).wait(20s).lost();
  EXPECT_EQ(std::get<operation_step::Select>(script.step).deadline, script.now + 30s);
  ASSERT_TRUE(script.member().wait(14min).reply_with(answer(3)).sends());
  script.wait(10s).lost();
  EXPECT_EQ(std::get<operation_step::Select>(script.step).deadline, script.now + 10s) << "then servers forget the session";
  BatchScript late(Batch("insert", 2));
  EXPECT_EQ(late.member().lost().member().reply_with(answer(1)).wait(16min).reply_with(answer(1)).code(), 6);
  BatchScript slow(Batch("insert", 2));
  EXPECT_EQ(slow.member().wait(16min).lost().code(), 6);
}

/// A server before 5.0 with its history of one batch of four: what is known is counted first, and the rest is executed where the last
/// document is not known.
struct Server {
  bool ordered = false;
  unsigned fails = 0;  // a bit for each document
  std::vector<int> executed = std::vector<int>(4, 0);

  [[nodiscard]] bool is_bad(std::size_t number) const { return (fails >> number & 1) != 0; }
  std::string execute(const Numbers& asked) {
    std::vector<std::size_t> fresh;
    int known = 0;
    for (const auto each : asked) {
      const auto number = static_cast<std::size_t>(each);
      executed[number] == 0 ? fresh.push_back(number) : static_cast<void>(++known);
    }
    if (executed[static_cast<std::size_t>(asked.back())] != 0) return answer(known);
    Places errors;
    int n = known;
    for (const auto number : fresh) {
      if (is_bad(number)) {
        errors.emplace_back(n + static_cast<int>(errors.size()), 11000);
        if (ordered) break;
      } else {
        ++executed[number];
        ++n;
      }
    }
    return answer(n, errors);
  }
};

/// The whole batch executed and not answered, then what the digits of `losses` to the base of four say, then answers.
void lose_and_repeat(Server server, unsigned losses) {
  BatchScript script(server.ordered ? Batch("insert", 4) : Batch("insert", 4).unordered());
  static_cast<void>(server.execute({0, 1, 2, 3}));
  script.member().lost();
  for (int sent = 0; sent < 40 && !script.forwards() && !script.answers(); ++sent, losses /= 4) {
    if (script.selects()) script.member();
    const auto part = script.asks_for();
    const auto asked = part.empty() ? Numbers{0, 1, 2, 3} : part;
    if (losses % 4 == 1) {
      script.lost();
      continue;
    }
    const auto reply = server.execute(asked);
    losses % 4 == 0 ? script.reply_with(reply) : losses % 4 == 2 ? script.lost() : script.reply(11602);
  }
  ASSERT_TRUE(script.forwards());
  const auto& merged = std::get<operation_step::Forward>(script.step).body;
  const std::string told = merged ? *merged : script.last_reply;
  Places errors;
  int n = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    const bool reached = !server.ordered || errors.empty();
    const bool good = reached && !server.is_bad(i);
    if (good) ++n;
    if (reached && !good) errors.emplace_back(static_cast<int>(i), 11000);
    EXPECT_EQ(server.executed[i], good ? 1 : 0) << i;
  }
  EXPECT_EQ(wire::read_reply(told).n, n);
  EXPECT_EQ(errors_of(told), errors);
}

TEST(MongoOperationBatch, whatever_is_lost_each_document_is_written_once_and_the_answer_is_true) {
  for (const bool ordered : {true, false}) {
    for (unsigned fails = 0; fails < 16; ++fails) {
      for (unsigned losses = 0; losses < 4 * 4 * 4 * 4 && !testing::Test::HasFailure(); ++losses) {
        SCOPED_TRACE(testing::Message() << ordered << ' ' << fails << ' ' << losses);
        lose_and_repeat({ordered, fails}, losses);
      }
    }
  }
}

}  // namespace
}  // namespace holdfast::proxy::mongo
