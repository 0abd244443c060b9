// Which writes get a number of ours, and what becomes of the sessions and the collections afterwards.
#include <gtest/gtest.h>

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/frame.hpp"
#include "proxy/mongo/numbering.hpp"

namespace holdfast::proxy::mongo {
namespace {

using namespace std::chrono_literals;
using Fate = Numbering::Fate;

/// An insert as a client wrote it.
struct Written {
  explicit Written(std::string_view collection = "t", std::size_t weight = 0) {
    wire::Writer list;
    const auto documents = list.document("0", wire::Writer().binary("_id", std::string(weight, 'x'), 0).finish()).finish();
    frame = wire::make_message(7, 0, 0, wire::Writer().text("insert", collection).text("$db", "shop").array("documents", documents).finish());
    static_cast<void>(wire::parse_message(frame, message));
    command = wire::read_command(message);
  }
  std::string frame;
  wire::Message message;
  wire::Command command;
};

class MongoNumbering : public ::testing::Test {
 protected:
  std::unique_ptr<NumberedWrite> begin(const Written& write, Numbering::Servers servers = {true, false}) {
    return numbering_.begin(write.message, write.command, "app.u", servers, now_);
  }
  int made_ = 0;
  Numbering numbering_{[this] { return std::string(15, 'x') + static_cast<char>('0' + ++made_); }};
  Numbering::Time now_{};
};

TEST_F(MongoNumbering, a_write_without_a_number_gets_a_session_and_a_number_and_is_otherwise_the_same) {
  const Written write;
  const auto numbered = begin(write);
  ASSERT_TRUE(numbered);
  EXPECT_EQ(numbered->message.header.request_id, 7);
  EXPECT_EQ(numbered->command.transaction_number, 1);
  EXPECT_EQ(numbered->command.session, std::string(15, 'x') + "1");
  EXPECT_EQ(numbered->command.collection, "t");
  EXPECT_EQ(numbered->command.statements, 1U);
}

TEST_F(MongoNumbering, which_session_of_ours_a_clients_write_is_under_way_in_is_known_until_it_ends) {
  const std::string theirs(16, 'c'), other(16, 'd');
  Written write;
  write.command.session = theirs;
  const auto first = begin(write), second = begin(write);
  EXPECT_EQ(numbering_.sessions_for({other, theirs}), (std::vector<std::string>{first->own.id, second->own.id}));
  EXPECT_TRUE(numbering_.sessions_for({other}).empty());
  numbering_.end(*first, Fate::answered, now_);
  EXPECT_EQ(numbering_.sessions_for({theirs}), std::vector<std::string>{second->own.id});
  numbering_.end(*second, Fate::unknown, now_);
  EXPECT_TRUE(numbering_.sessions_for({theirs}).empty());
}

TEST_F(MongoNumbering, a_server_that_knows_no_write_again_gets_none) { EXPECT_FALSE(begin(Written(), {false, false})); }

TEST_F(MongoNumbering, one_that_would_be_longer_than_a_message_may_be_goes_as_it_is_and_takes_no_session) {
  const auto longest = wire::message_length_max - Written().frame.size();
  const Written write("t", longest);
  ASSERT_EQ(write.frame.size(), wire::message_length_max);
  EXPECT_FALSE(begin(write));
  ASSERT_TRUE(begin(Written()));
  EXPECT_EQ(made_, 1) << "the session was given back";
}

TEST_F(MongoNumbering, a_mongos_that_would_repeat_it_by_itself_gets_none) { EXPECT_FALSE(begin(Written(), {true, true})); }

TEST_F(MongoNumbering, a_session_comes_again_once_the_outcome_is_known_with_a_higher_number) {
  const Written write;
  const auto first = begin(write), beside = begin(write);
  EXPECT_NE(first->command.session, beside->command.session);
  numbering_.end(*first, Fate::answered, now_);
  const auto second = begin(write);
  EXPECT_EQ(second->command.session, first->command.session);
  EXPECT_EQ(second->command.transaction_number, 2);
  numbering_.end(*second, Fate::refused, now_);
  EXPECT_EQ(begin(write)->command.transaction_number, 3);
}

TEST_F(MongoNumbering, a_session_whose_outcome_is_unknown_never_comes_again) {
  const Written write;
  const auto first = begin(write);
  numbering_.end(*first, Fate::unknown, now_);
  EXPECT_NE(begin(write)->command.session, first->command.session);
}

TEST_F(MongoNumbering, a_collection_that_takes_writes_without_a_number_only_is_remembered) {
  const Written write("capped"), other("t");
  numbering_.end(*begin(write), Fate::refused, now_);
  EXPECT_TRUE(begin(write)) << "not before it was taken without one";
  numbering_.end_without(write.command, Fate::unknown, now_);
  EXPECT_TRUE(begin(write)) << "nothing is known of it";
  numbering_.end_without(write.command, Fate::refused, now_);
  EXPECT_TRUE(begin(write)) << "the number was not the reason";
  numbering_.end_without(write.command, Fate::answered, now_);
  EXPECT_FALSE(begin(write));
  EXPECT_TRUE(begin(other));
}

TEST_F(MongoNumbering, half_an_hour_after_its_last_write_it_is_asked_again) {
  const Written write("capped");
  numbering_.end_without(write.command, Fate::answered, now_);
  now_ += 20min;
  numbering_.expire(now_);
  EXPECT_FALSE(begin(write));
  now_ += 20min;
  numbering_.expire(now_);
  EXPECT_FALSE(begin(write)) << "it was used in between";
  now_ += 31min;
  numbering_.expire(now_);
  EXPECT_TRUE(begin(write));
}

TEST_F(MongoNumbering, an_answer_tells_a_refusal_also_where_a_mongos_hides_it) {
  for (const int code : {20, 263, 301, 50768}) {
    wire::Reply at_root, hidden;
    at_root.code = code;
    EXPECT_EQ(Numbering::fate_of(at_root), Fate::refused) << code;
    hidden.ok = true;
    hidden.first_error_code = code;
    EXPECT_EQ(Numbering::fate_of(hidden), Fate::refused) << code;
    hidden.n = 1;
    EXPECT_EQ(Numbering::fate_of(hidden), Fate::answered) << "something was executed";
  }
  wire::Reply other;
  other.code = 11000;
  EXPECT_EQ(Numbering::fate_of(other), Fate::answered);
}

}  // namespace
}  // namespace holdfast::proxy::mongo
