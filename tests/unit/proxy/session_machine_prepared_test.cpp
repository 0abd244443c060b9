// Prepared statements across backends: parsed again at first use, unseen by the client but for the errors that are its own.
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/proxy/session_model_server.hpp"

namespace holdfast::proxy::postgres::test {
namespace {

const std::string use_s1 = bind("s1") + execute() + sync();

/// The session is on a new backend, which does not know its statement s1 yet.
void prepare_and_lose(SessionScript& script, std::string_view text) {
  script.client_sends(parse("s1", text) + sync());
  script.server_sends(parsed + ready('I'));
  script.to_client();
  script.server_closes();
  ASSERT_TRUE(script.attach());
  script.to_server();
}

TEST(prepared_statement, is_parsed_again_at_its_first_use_on_a_new_backend) {
  Conversation talk;
  EXPECT_EQ(brief(talk.client_sends(parse("s1", "SELECT a FROM t") + sync())), "1 ZI");
  talk.lose();
  talk.client_sends(use_s1);
  EXPECT_EQ(brief(talk.attach()), "2 D C:SELECT 1 ZI") << "the ParseComplete is not the client's";
  EXPECT_EQ(brief_requests(talk.sent), "P:s1 B E S");
  talk.sent.clear();
  EXPECT_EQ(brief(talk.client_sends(use_s1)), "2 D C:SELECT 1 ZI");
  EXPECT_EQ(brief_requests(talk.sent), "B E S") << "once for each backend";
}

TEST(prepared_statement, is_parsed_again_to_be_described) {
  Conversation talk;
  talk.client_sends(parse("s1", "SELECT a FROM t") + sync());
  talk.lose();
  talk.client_sends(describe('S', "s1") + sync());
  EXPECT_EQ(brief(talk.attach()), "t n ZI");
}

TEST(prepared_statement, shows_the_error_of_its_second_parse) {
  SessionScript script;
  ASSERT_NO_FATAL_FAILURE(prepare_and_lose(script, "SELECT a FROM t"));
  script.client_sends(use_s1);
  script.expect_to_server("P:s1 B E S");
  script.server_sends(error("42P01") + ready('I'));
  script.expect_to_client("E:42P01 ZI");
  script.client_sends(use_s1);
  script.expect_to_server("P:s1 B E S");
  script.server_sends(parsed + bound + complete("SELECT 0") + ready('I'));
  script.expect_to_client("2 C:SELECT 0 ZI");
}

TEST(prepared_statement, is_parsed_again_after_an_error_before_it_made_the_server_skip_it) {
  Conversation talk;
  talk.client_sends(parse("s1", "SELECT a FROM t") + sync());
  talk.lose();
  talk.client_sends(extended("fail") + use_s1);
  EXPECT_EQ(brief(talk.attach()), "1 2 E:22012 ZI");
  EXPECT_EQ(brief(talk.client_sends(use_s1)), "2 D C:SELECT 1 ZI");
}

TEST(prepared_statement, whose_parse_was_answered_with_a_loss_is_not_there) {
  for (const std::string before : {"", "BEGIN"}) {
    Conversation talk;
    if (!before.empty()) talk.client_sends(query(before));
    talk.script.client_sends(parse("s1", "SELECT app.f()") + describe('S', "s1") + sync());
    talk.script.to_server();
    talk.script.server_closes();
    EXPECT_TRUE(brief(talk.script.to_client()).starts_with("E:")) << before;
    if (!before.empty()) talk.script.client_sends(query("ROLLBACK"));
    talk.script.to_client();
    ASSERT_TRUE(talk.script.attach());
    talk.script.to_server();
    talk.script.client_sends(parse("s1", "SELECT b FROM t") + sync());
    talk.script.expect_to_server("P:s1 S");
  }
}

TEST(prepared_statement, whose_second_parse_was_answered_with_a_loss_is_the_first_one) {
  Conversation talk;
  talk.client_sends(parse("s1", "SELECT a FROM t") + sync());
  talk.script.client_sends(close('S', "s1") + parse("s1", "SELECT app.f()") + sync());
  talk.script.to_server();
  talk.lose();
  EXPECT_TRUE(brief(talk.script.to_client()).starts_with("E:"));
  talk.client_sends(use_s1);
  EXPECT_EQ(brief(talk.attach()), "2 D C:SELECT 1 ZI");
  EXPECT_EQ(talk.server.prepared["s1"], "SELECT a FROM t");
}

TEST(prepared_statement, need_not_come_back_to_be_closed) {
  Conversation talk;
  talk.client_sends(parse("s1", "SELECT a FROM t") + sync());
  talk.lose();
  talk.client_sends(close('S', "s1") + parse("s1", "SELECT b FROM t") + sync());
  EXPECT_EQ(brief(talk.attach()), "3 1 ZI");
  EXPECT_EQ(brief_requests(talk.sent), "C P:s1 S");
  EXPECT_EQ(talk.server.prepared["s1"], "SELECT b FROM t");
}

TEST(prepared_statement, whose_close_was_skipped_is_parsed_again) {
  Conversation talk;
  talk.client_sends(parse("s1", "SELECT a FROM t") + sync());
  talk.lose();
  talk.client_sends(extended("fail") + close('S', "s1") + sync());
  EXPECT_EQ(brief(talk.attach()), "1 2 E:22012 ZI");
  EXPECT_EQ(brief(talk.client_sends(use_s1)), "2 D C:SELECT 1 ZI");
}

TEST(prepared_statement, whose_name_is_taken_is_refused_on_a_new_backend_as_on_the_old_one) {
  Conversation talk;
  talk.client_sends(parse("s1", "SELECT a FROM t") + sync());
  EXPECT_EQ(brief(talk.client_sends(parse("s1", "INSERT INTO t VALUES (1)") + sync())), "E:42P05 ZI");
  talk.lose();
  talk.client_sends(parse("s1", "INSERT INTO t VALUES (1)") + sync());
  EXPECT_EQ(brief(talk.attach()), "E:42P05 ZI");
  EXPECT_EQ(brief_requests(talk.sent), "P:s1 P:s1 S");
  EXPECT_EQ(brief(talk.client_sends(use_s1)), "2 D C:SELECT 1 ZI") << "the name means what it meant";
}

TEST(prepared_statement, without_a_name_survives_its_sync_and_its_backend) {
  Conversation talk;
  talk.client_sends(extended("SELECT a FROM t") + sync());
  talk.lose();
  talk.client_sends(bind("") + execute() + sync());
  EXPECT_EQ(brief(talk.attach()), "2 D C:SELECT 1 ZI");
}

TEST(prepared_statement, without_a_name_ends_with_a_simple_query) {
  Conversation talk;
  talk.client_sends(extended("SELECT a FROM t") + sync());
  talk.client_sends(query("SELECT b FROM t"));
  talk.lose();
  talk.client_sends(bind("") + sync());
  EXPECT_EQ(brief(talk.attach()), "E:26000 ZI");
}

TEST(prepared_statement, that_fails_leaves_the_name_with_what_it_meant) {
  for (const std::string name : {"", "s1"}) {
    Conversation talk;
    if (name.empty()) talk.client_sends(parse("", "SELECT a FROM t") + sync());
    EXPECT_EQ(brief(talk.client_sends(parse(name, "unparsable") + sync())), "E:42601 ZI");
    talk.lose();
    talk.client_sends(test::bind(name) + execute() + sync());
    EXPECT_EQ(brief(talk.attach()), name.empty() ? "2 D C:SELECT 1 ZI" : "E:26000 ZI");
  }
}

TEST(prepared_statement, is_gone_after_close_deallocate_and_discard) {
  for (const auto& ending : {close('S', "s1") + sync(), query("DEALLOCATE ALL"), query("DISCARD ALL"),
                             query("DEALLOCATE s1"), extended("DEALLOCATE ALL") + sync()}) {
    Conversation talk;
    talk.client_sends(parse("s1", "SELECT a FROM t") + sync());
    talk.client_sends(ending);
    talk.lose();
    talk.client_sends(use_s1);
    EXPECT_EQ(brief(talk.attach()), "E:26000 ZI");
    EXPECT_EQ(brief_requests(talk.sent), "B E S");
  }
}

TEST(prepared_statement, comes_back_before_sql_that_executes_it_by_name) {
  Conversation talk;
  talk.client_sends(parse("s1", "SELECT a FROM t") + parse("s2", "SELECT b FROM t") + sync());
  talk.lose();
  talk.client_sends(query("EXECUTE s1"));
  EXPECT_EQ(brief(talk.attach()), "C:EXECUTE ZI");
  EXPECT_EQ(talk.server.prepared.size(), 2U);
  EXPECT_EQ(talk.server.executed, std::vector<std::string>{"EXECUTE s1"});
}

TEST(prepared_statement, that_cannot_come_back_for_sql_leaves_the_error_to_the_sql) {
  SessionScript script;
  ASSERT_NO_FATAL_FAILURE(prepare_and_lose(script, "SELECT a FROM t"));
  script.client_sends(query("EXECUTE s1"));
  script.expect_to_server("P:s1 S Q:EXECUTE s1");
  script.server_sends(error("42P01") + ready('I'));
  EXPECT_EQ(script.to_client(), "");
  script.server_sends(error("26000") + ready('I'));
  script.expect_to_client("E:26000 ZI");
}

TEST(prepared_statement, comes_back_in_a_transaction_only_where_it_is_named) {
  SessionScript script;
  ASSERT_NO_FATAL_FAILURE(prepare_and_lose(script, "SELECT a FROM t"));
  script.client_sends(parse("s2", "SELECT b FROM t") + sync() + query("BEGIN"));
  script.server_sends(parsed + ready('I') + complete("BEGIN") + ready('T'));
  script.to_server();
  script.to_client();
  script.client_sends(query("EXECUTE s2"));
  script.expect_to_server("Q:EXECUTE s2");
  script.server_sends(complete("SELECT 0") + ready('T'));
  script.to_client();
  script.client_sends(query("EXECUTE S1"));
  script.expect_to_server("P:s1 S Q:EXECUTE S1");
  script.server_sends(error("42P01") + ready('E') + error("25P02") + ready('E'));
  script.expect_to_client("E:42P01 ZE");
}

TEST(prepared_statement, comes_back_before_a_portal_of_sql_that_is_about_it) {
  SessionScript script;
  ASSERT_NO_FATAL_FAILURE(prepare_and_lose(script, "SELECT a FROM t"));
  script.client_sends(extended("EXECUTE s1") + sync());
  script.expect_to_server("P: P:s1 B E S");
}

TEST(prepared_statement, whose_text_would_be_read_otherwise_by_now_is_gone) {
  SessionScript script;
  script.client_sends(parse("s1", "SELECT 'caf\xc3\xa9'") + parse("plain", "SELECT 1") + sync());
  std::string changed;
  pg::write_parameter_status(changed, "client_encoding", "LATIN1");
  script.server_sends(parsed + parsed + changed + ready('I'));
  script.server_closes();
  auto parameters = server_parameters();
  parameters["client_encoding"] = "LATIN1";
  ASSERT_TRUE(script.attach(200, parameters));
  script.to_server();
  script.client_sends(use_s1);
  script.expect_to_server("B E S");
  script.server_sends(error("26000") + ready('I'));
  script.client_sends(bind("plain") + execute() + sync());
  script.expect_to_server("P:plain B E S");
}

TEST(prepared_statement, of_ours_that_failed_is_not_taken_for_the_clients_error_at_a_loss) {
  SessionScript script;
  ASSERT_NO_FATAL_FAILURE(prepare_and_lose(script, "SELECT a FROM t"));
  script.client_sends(query("EXECUTE s1"));
  script.server_sends(error("42P01"));
  script.server_closes();
  script.expect_to_client("E:40001 ZI");
}

TEST(prepared_statement, is_parsed_again_in_front_of_a_bind_that_is_longer_than_the_buffer) {
  SessionOptions options;
  options.message_buffer = 1024;
  SessionScript script(options);
  ASSERT_NO_FATAL_FAILURE(prepare_and_lose(script, "SELECT $1"));
  std::string bound_long;
  pg::Writer(bound_long, 'B').cstring("").cstring("s1").i16(0).i16(1).i32(4000).bytes(std::string(4000, 'x')).i16(0).finish();
  script.client_sends(bound_long.substr(0, 7));
  EXPECT_EQ(script.to_server(), "") << "which statement it is has not come yet";
  script.client_sends(bound_long.substr(7) + execute() + sync());
  script.expect_to_server("P:s1 B E S");
}

}  // namespace
}  // namespace holdfast::proxy::postgres::test
