// Who gets a connection, and who gets the next one.
#include <gtest/gtest.h>

#include "proxy/mongo/login.hpp"
#include "proxy/mongo/pool_book.hpp"

namespace holdfast::proxy::mongo {
namespace {

using namespace std::chrono_literals;
constexpr SteadyTime begin{1h};

class MongoPoolBook : public testing::Test {
 protected:
  struct Connection final : Pooled {
    explicit Connection(std::size_t& count) : alive(count) { ++alive; }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() override { --alive; }
    std::size_t& alive;
  };

  [[nodiscard]] static PoolBook::Limits limits(std::size_t connections, std::size_t logins = 16) { return {connections, logins, 10s}; }
  /// A connection of this user's that is in use: taken, and made where it is a new one.
  [[nodiscard]] PoolBook::Connection lent(PoolBook& book, const std::shared_ptr<Login>& user) {
    auto given = book.take(0, user.get());
    return given.place ? made(book, user) : std::move(given.connection);
  }
  [[nodiscard]] PoolBook::Connection made(PoolBook& book, const std::shared_ptr<Login>& user) {
    book.fill(0);
    auto connection = std::make_unique<Connection>(alive);
    connection->login = user;
    return connection;
  }
  [[nodiscard]] PoolBook::Ticket waits(PoolBook& book, const std::shared_ptr<Login>& user) {
    EXPECT_FALSE(book.take(0, user.get()));
    const auto ticket = book.next_ticket();
    book.wait(ticket, 0, user.get());
    return ticket;
  }

  std::size_t alive = 0;
  const std::shared_ptr<Login> anna = std::make_shared<Login>(), bert = std::make_shared<Login>();
};

TEST_F(MongoPoolBook, the_connection_that_was_used_last_is_used_next_by_its_own_user) {
  PoolBook book(1, PoolBook::Shared::yes, limits(10));
  auto first = lent(book, anna), second = lent(book, anna);
  const auto* last = second.get();
  book.give_back(0, std::move(first), begin);
  book.give_back(0, std::move(second), begin);
  EXPECT_TRUE(book.take(0, bert.get()).place) << "another user logs in";
  EXPECT_EQ(book.take(0, anna.get()).connection.get(), last);
  EXPECT_TRUE(book.take(0, nullptr).place);
}

TEST_F(MongoPoolBook, there_are_never_more_than_allowed_and_the_one_that_was_idle_for_longest_makes_room) {
  PoolBook book(2, PoolBook::Shared::yes, limits(2));
  auto first = lent(book, anna), second = lent(book, anna);
  EXPECT_FALSE(book.take(0, anna.get()));
  EXPECT_TRUE(book.take(1, anna.get()).place) << "another member has its own";
  book.give_back(0, std::move(first), begin);
  book.give_back(0, std::move(second), begin);
  EXPECT_TRUE(book.take(0, bert.get()).place);
  EXPECT_EQ(alive, 1U);
  EXPECT_EQ(book.open(0), 2U);
}

TEST_F(MongoPoolBook, whoever_came_first_gets_the_connection_that_comes_back) {
  PoolBook book(1, PoolBook::Shared::yes, limits(1));
  auto connection = lent(book, anna);
  const auto first = waits(book, anna), second = waits(book, anna);
  book.give_back(0, std::move(connection), begin);
  EXPECT_FALSE(book.take(0, anna.get())) << "it is not for those who come now";
  auto handed = book.take_handed();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].ticket, first);
  book.give_back(0, std::move(handed[0].given.connection), begin);
  handed = book.take_handed();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].ticket, second);
}

TEST_F(MongoPoolBook, one_that_has_to_wait_again_is_where_it_was) {
  PoolBook book(1, PoolBook::Shared::yes, limits(1));
  auto connection = lent(book, anna);
  const auto first = waits(book, anna), second = waits(book, anna);
  book.leave(first);
  book.wait(first, 0, anna.get());
  book.give_back(0, std::move(connection), begin);
  auto handed = book.take_handed();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].ticket, first);
  book.leave(second);
  book.give_back(0, std::move(handed[0].given.connection), begin);
  EXPECT_TRUE(book.take_handed().empty());
  EXPECT_EQ(book.idle(0), 1U);
}

TEST_F(MongoPoolBook, a_connection_that_ends_and_one_that_is_not_made_leave_their_place_to_the_next) {
  PoolBook book(1, PoolBook::Shared::yes, limits(1));
  auto connection = lent(book, anna);
  const auto first = waits(book, anna), second = waits(book, bert);
  connection.reset();
  book.lose(0);
  auto handed = book.take_handed();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].ticket, first);
  EXPECT_TRUE(handed[0].given.place);
  book.give_up(0);
  handed = book.take_handed();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].ticket, second);
  EXPECT_EQ(book.open(0), 1U);
}

TEST_F(MongoPoolBook, another_users_connection_is_closed_for_one_whom_a_few_have_gone_past) {
  PoolBook book(1, PoolBook::Shared::yes, limits(1));
  auto connection = lent(book, anna);
  const auto other = waits(book, bert);
  int past = 0;
  for (;; ++past) {
    ASSERT_LT(past, 100) << "it waits for ever";
    static_cast<void>(waits(book, anna));
    book.give_back(0, std::move(connection), begin);
    auto handed = book.take_handed();
    ASSERT_EQ(handed.size(), 1U);
    connection = std::move(handed[0].given.connection);
    if (handed[0].ticket == other) break;
  }
  EXPECT_FALSE(connection) << "it has a place";
  EXPECT_EQ(alive, 0U);
  EXPECT_GT(past, 0) << "a login costs more than a command";
  EXPECT_EQ(book.being_made(0), 1U);
}

TEST_F(MongoPoolBook, one_that_nobody_of_its_user_waits_for_is_closed_at_once_for_another_user) {
  PoolBook book(1, PoolBook::Shared::yes, limits(1));
  auto connection = lent(book, anna);
  const auto other = waits(book, bert);
  book.give_back(0, std::move(connection), begin);
  const auto handed = book.take_handed();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].ticket, other);
  EXPECT_TRUE(handed[0].given.place);
  EXPECT_EQ(alive, 0U);
}

TEST_F(MongoPoolBook, so_many_log_in_at_once_and_others_take_what_comes_back_meanwhile) {
  PoolBook book(1, PoolBook::Shared::yes, limits(10, 1));
  auto connection = lent(book, anna);
  EXPECT_TRUE(book.take(0, bert.get()).place) << "its login hangs";
  const auto other = waits(book, bert), own = waits(book, anna);
  book.give_back(0, std::move(connection), begin);
  auto handed = book.take_handed();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].ticket, own) << "no more may log in, so it is of no use to anybody else";
  EXPECT_TRUE(handed[0].given.connection);
  book.give_up(0);
  handed = book.take_handed();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].ticket, other);
  EXPECT_TRUE(handed[0].given.place);
}

TEST_F(MongoPoolBook, a_higher_limit_of_logins_lets_the_next_in_at_once) {
  PoolBook book(1, PoolBook::Shared::yes, limits(10, 1));
  EXPECT_TRUE(book.take(0, anna.get()).place);
  static_cast<void>(waits(book, anna));
  static_cast<void>(waits(book, anna));
  book.limit_logins(3);
  EXPECT_EQ(book.take_handed().size(), 2U);
  EXPECT_EQ(book.being_made(0), 3U);
}

TEST_F(MongoPoolBook, what_nobody_has_used_for_long_is_closed) {
  PoolBook book(1, PoolBook::Shared::yes, limits(10));
  auto first = lent(book, anna), second = lent(book, anna);
  book.give_back(0, std::move(first), begin);
  book.give_back(0, std::move(second), begin + 5s);
  book.close_idle_since(begin + 10s);
  EXPECT_EQ(alive, 2U);
  book.close_idle_since(begin + 11s);
  EXPECT_EQ(alive, 1U);
  EXPECT_EQ(book.open(0), 1U);
  book.close_idle(0);
  EXPECT_EQ(book.open(0), 0U);
}

TEST_F(MongoPoolBook, what_others_wait_for_has_as_many_again_and_passes_those_who_wait) {
  PoolBook book(1, PoolBook::Shared::yes, limits(1));
  constexpr auto beyond = PoolBook::Room::beyond_limit;
  auto within = lent(book, anna);
  const auto waiting = waits(book, anna);
  EXPECT_TRUE(book.take(0, anna.get(), beyond).place);
  EXPECT_FALSE(book.take(0, anna.get(), beyond)) << "twice as many, and no more";
  const auto next = book.next_ticket();
  book.wait(next, 0, anna.get(), beyond);
  book.give_back(0, made(book, anna), begin);
  auto handed = book.take_handed();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].ticket, next) << "one who may wait is not given what is beyond the limit";
  book.give_back(0, std::move(handed[0].given.connection), begin);
  EXPECT_TRUE(book.take_handed().empty());
  EXPECT_EQ(book.open(0), 1U);
  EXPECT_EQ(alive, 1U);
  book.give_back(0, std::move(within), begin);
  handed = book.take_handed();
  ASSERT_EQ(handed.size(), 1U);
  EXPECT_EQ(handed[0].ticket, waiting);
}

TEST_F(MongoPoolBook, what_is_not_shared_is_closed_and_has_no_limit) {
  PoolBook book(1, PoolBook::Shared::no, limits(1));
  auto first = lent(book, anna), second = lent(book, anna);
  EXPECT_EQ(book.open(0), 2U);
  book.give_back(0, std::move(first), begin);
  EXPECT_EQ(alive, 1U);
  EXPECT_EQ(book.open(0), 1U);
}

TEST_F(MongoPoolBook, once_stopped_it_gives_nothing_and_keeps_nothing) {
  PoolBook book(1, PoolBook::Shared::yes, limits(1));
  auto connection = lent(book, anna);
  static_cast<void>(waits(book, anna));
  book.stop();
  book.give_back(0, std::move(connection), begin);
  EXPECT_TRUE(book.take_handed().empty());
  EXPECT_FALSE(book.take(0, anna.get()));
  EXPECT_EQ(alive, 0U);
  EXPECT_EQ(book.open(0), 0U);
}

}  // namespace
}  // namespace holdfast::proxy::mongo
