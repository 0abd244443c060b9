// The second run of what was lost: what goes to the new backend, and what the client gets of it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/proxy/session_model_server.hpp"

namespace holdfast::proxy::postgres::test {
namespace {

TEST(replay, of_an_open_segment_prepares_its_statement_once) {
  Conversation talk(with_replay());
  EXPECT_EQ(brief(talk.client_sends(parse("s1", "SELECT a FROM t") + describe('S', "s1") + message('H'))), "1 t n");
  EXPECT_EQ(talk.lose().then, LossResult::Then::attach_now);
  EXPECT_EQ(talk.attach(), "");
  EXPECT_EQ(brief_requests(talk.sent), "P:s1 D H");
  EXPECT_EQ(brief(talk.client_sends(bind("s1") + execute() + sync())), "2 D C:SELECT 1 ZI");
  EXPECT_EQ(brief_requests(talk.sent), "P:s1 D H B E S");
}

}  // namespace
}  // namespace holdfast::proxy::postgres::test
