// Batches asked for by parts: what is asked, and what the parts' answers come to.
#include "mongo_batch_script.hpp"

namespace holdfast::proxy::mongo {
namespace {

using Heard = BatchRepeat::Heard;
using Numbers = std::vector<std::int64_t>;
using Places = std::vector<std::pair<int, int>>;

struct Asked {
  explicit Asked(Batch of) : batch(std::move(of)), whole(answer(0)), repeat(BatchRepeat::begin(batch.message, batch.command, wire::read_reply(whole))) {}
  [[nodiscard]] Heard hear(std::string body) {
    last = std::move(body);
    return repeat->on_reply(wire::read_reply(last));
  }
  [[nodiscard]] Numbers numbers() const { return numbers_of(repeat->part().body); }

  Batch batch;
  std::string whole, last;
  std::optional<BatchRepeat> repeat;
};

TEST(MongoBatchRepeat, asks_for_halves_until_each_answer_speaks_for_all_of_its_part) {
  Asked asked(Batch("insert", 4).unordered());
  EXPECT_EQ(asked.numbers(), (Numbers{0, 1}));
  EXPECT_EQ(asked.hear(answer(2)), Heard::more);
  EXPECT_EQ(asked.numbers(), (Numbers{2, 3}));
  EXPECT_EQ(asked.hear(answer(1)), Heard::more) << "captured: the error of the third is left out where the fourth is known";
  EXPECT_EQ(asked.numbers(), (Numbers{2}));
  EXPECT_EQ(asked.hear(answer(0, {{0, 11000}})), Heard::more);
  EXPECT_EQ(asked.numbers(), (Numbers{3}));
  EXPECT_EQ(asked.hear(answer(1)), Heard::all);
  const auto body = asked.repeat->take_answer();
  const auto reply = wire::read_reply(body);
  EXPECT_TRUE(reply.ok);
  EXPECT_EQ(reply.n, 3);
  EXPECT_EQ(errors_of(body), (Places{{2, 11000}}));
}

TEST(MongoBatchRepeat, a_part_is_the_request_but_for_its_statements_and_their_numbers) {
  for (const bool sequence : {true, false}) {
    Asked asked(Batch("insert", 3, sequence));
    const auto part = asked.repeat->part();
    for (const auto key : {"insert", "lsid", "txnNumber", "writeConcern", "let", "ordered", "$db"}) {
      EXPECT_EQ(wire::find(part.body, key)->raw, wire::find(asked.batch.message.body, key)->raw) << key;
    }
    EXPECT_FALSE(wire::find(part.body, "documents"));
    EXPECT_EQ(part.statements.name, "documents");
    std::vector<std::string_view> statements;
    wire::for_each_document(part.statements, [&](std::string_view each) { statements.push_back(each); });
    EXPECT_EQ(statements.size(), 1U);
    EXPECT_EQ(wire::find(statements.at(0), "k")->integer, 0);
  }
}

TEST(MongoBatchRepeat, the_statements_keep_the_numbers_that_the_client_gave_them) {
  Asked listed(Batch("insert", 3).with(wire::Writer().array("stmtIds", wire::Writer().int32("0", 7).int32("1", 5).int32("2", 9).finish()).finish()));
  EXPECT_EQ(listed.numbers(), (Numbers{7}));
  EXPECT_EQ(listed.hear(answer(1)), Heard::more);
  EXPECT_EQ(listed.numbers(), (Numbers{5, 9}));
  Asked counted(Batch("insert", 3).with(wire::Writer().int32("stmtId", 20).finish()));
  EXPECT_EQ(counted.hear(answer(1)), Heard::more);
  EXPECT_EQ(counted.numbers(), (Numbers{21, 22}));
}

TEST(MongoBatchRepeat, a_client_that_keeps_to_the_stable_api_gets_its_answer_too) {
  Asked asked(Batch("insert", 2).with(wire::Writer().text("apiVersion", "1").boolean("apiStrict", true).finish()));
  EXPECT_TRUE(wire::find(asked.repeat->part().body, "apiVersion"));
  EXPECT_FALSE(wire::find(asked.repeat->part().body, "apiStrict"));
}

TEST(MongoBatchRepeat, nothing_follows_the_first_error_of_an_ordered_batch) {
  Asked asked(Batch("insert", 4));
  EXPECT_EQ(asked.hear(answer(1)), Heard::more);
  EXPECT_EQ(asked.numbers(), (Numbers{0}));
  EXPECT_EQ(asked.hear(answer(1)), Heard::more);
  EXPECT_EQ(asked.numbers(), (Numbers{1}));
  EXPECT_EQ(asked.hear(answer(0, {{0, 11000}})), Heard::all);
  const auto body = asked.repeat->take_answer();
  EXPECT_EQ(wire::read_reply(body).n, 1);
  EXPECT_EQ(errors_of(body), (Places{{1, 11000}}));
}

TEST(MongoBatchRepeat, counts_are_added_up_places_are_those_of_the_batch_and_the_rest_is_the_last_answers) {
  Asked asked(Batch("insert", 4).unordered());
  EXPECT_EQ(asked.hear(wire::Writer().int32("n", 2).int64("operationTime", 1).real("ok", 1).finish()), Heard::more);
  const auto concern = wire::Writer().int32("code", 64).text("errmsg", "waiting for replication timed out").finish();
  EXPECT_EQ(asked.hear(wire::Writer().int32("n", 2).document("writeConcernError", concern)
                           .array("retriedStmtIds", wire::Writer().int32("0", 2).finish()).int64("operationTime", 2).real("ok", 1).finish()),
            Heard::all);
  const auto body = asked.repeat->take_answer();
  EXPECT_EQ(wire::find(body, "n")->integer, 4);
  EXPECT_EQ(wire::read_reply(body).write_concern_code, 64);
  EXPECT_EQ(wire::find(body, "operationTime")->integer, 2);
  EXPECT_FALSE(wire::find(body, "retriedStmtIds"));
  EXPECT_TRUE(wire::read_reply(body).ok);
}

TEST(MongoBatchRepeat, a_write_concern_error_of_any_part_is_told) {
  Asked asked(Batch("insert", 2));
  const auto concern = wire::Writer().int32("code", 64).finish();
  EXPECT_EQ(asked.hear(wire::Writer().int32("n", 1).document("writeConcernError", concern).real("ok", 1).finish()), Heard::more);
  EXPECT_EQ(asked.hear(answer(1)), Heard::all);
  EXPECT_EQ(wire::read_reply(asked.repeat->take_answer()).write_concern_code, 64);
}

TEST(MongoBatchRepeat, what_no_server_says_is_unclear) {
  EXPECT_EQ(Asked(Batch("insert", 2)).hear(answer(0)), Heard::unclear) << "one document that is neither there nor refused";
  EXPECT_EQ(Asked(Batch("insert", 2)).hear(answer(2)), Heard::unclear);
  EXPECT_EQ(Asked(Batch("insert", 2)).hear(answer(0, {{1, 11000}})), Heard::unclear) << "an error of a statement that was not asked for";
  EXPECT_EQ(Asked(Batch("insert", 2)).hear(wire::error_body({13, "not authorized"})), Heard::unclear);
}

TEST(MongoBatchRepeat, only_statements_that_have_numbers_are_asked_for) {
  const auto begins = [](const Batch& batch, const std::string& whole) {
    return BatchRepeat::begin(batch.message, batch.command, wire::read_reply(whole)).has_value();
  };
  EXPECT_TRUE(begins(Batch("insert", 2), answer(1)));
  EXPECT_FALSE(begins(Batch("insert", 1), answer(0)));
  EXPECT_FALSE(begins(Batch("bulkWrite", 2), answer(0)));
  EXPECT_FALSE(begins(Batch("insert", 2).with(wire::Writer().int32("stmtId", -1).finish()), answer(0)));
  EXPECT_FALSE(begins(Batch("insert", 2).with(wire::Writer().array("stmtIds", wire::Writer().int32("0", 1).finish()).finish()), answer(0)));
  EXPECT_FALSE(begins(Batch("update", 2), answer(3))) << "out of their order they would mean something else";
  const auto unordered = Batch("insert", 4).unordered();
  EXPECT_TRUE(begins(unordered, answer(2, {{0, 121}, {1, 11000}})));
  EXPECT_FALSE(begins(unordered, answer(2, {{0, 11000}, {1, 2}}))) << "before 5.0, behind a document that fits nowhere the numbers are others";
}

TEST(MongoBatchRepeat, texts_of_very_many_errors_are_left_out_as_servers_do) {
  Asked asked(Batch("insert", 64).unordered());
  const auto error = wire::Writer().int32("index", 0).int32("code", 11000).text("errmsg", std::string(100'000, 'x')).finish();
  const auto failed = wire::Writer().int32("n", 0).array("writeErrors", wire::Writer().document("0", error).finish()).real("ok", 1).finish();
  auto heard = Heard::more;
  while (heard == Heard::more) heard = asked.hear(failed);
  ASSERT_EQ(heard, Heard::all);
  const auto body = asked.repeat->take_answer();
  EXPECT_EQ(errors_of(body).size(), 64U);
  EXPECT_LT(body.size(), 1'100'000U);
}

}  // namespace
}  // namespace holdfast::proxy::mongo
