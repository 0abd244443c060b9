// Sessions of the proxy's own: one write at a time, numbers that rise, nothing kept for good.
#include <gtest/gtest.h>

#include "proxy/mongo/own_sessions.hpp"

namespace holdfast::proxy::mongo {
namespace {

using namespace std::chrono_literals;

class MongoOwnSessions : public ::testing::Test {
 protected:
  int made_ = 0;
  OwnSessions sessions_{[this] { return std::to_string(++made_); }, 30min};
  OwnSessions::Time now_{};
};

TEST_F(MongoOwnSessions, a_session_is_used_again_with_a_higher_number) {
  auto first = sessions_.take("app.u");
  EXPECT_EQ(first.number, 1);
  sessions_.give_back("app.u", std::move(first), now_);
  const auto again = sessions_.take("app.u");
  EXPECT_EQ(again.id, "1");
  EXPECT_EQ(again.number, 2);
}

TEST_F(MongoOwnSessions, writes_at_the_same_time_have_each_their_own) {
  const auto one = sessions_.take("app.u"), other = sessions_.take("app.u");
  EXPECT_NE(one.id, other.id);
}

TEST_F(MongoOwnSessions, users_do_not_share_them) {
  sessions_.give_back("app.u", sessions_.take("app.u"), now_);
  EXPECT_EQ(sessions_.take("app.v").id, "2");
}

TEST_F(MongoOwnSessions, one_that_is_not_given_back_never_comes_again) {
  EXPECT_EQ(sessions_.take("app.u").id, "1");
  EXPECT_EQ(sessions_.take("app.u").id, "2");
}

TEST_F(MongoOwnSessions, one_that_nobody_uses_is_forgotten) {
  auto old = sessions_.take("app.u"), young = sessions_.take("app.u");
  sessions_.give_back("app.u", std::move(old), now_);
  sessions_.give_back("app.u", std::move(young), now_ + 20min);
  sessions_.expire(now_ + 40min);
  EXPECT_EQ(sessions_.take("app.u").id, "2");
  EXPECT_EQ(sessions_.take("app.u").id, "3");
}

}  // namespace
}  // namespace holdfast::proxy::mongo
