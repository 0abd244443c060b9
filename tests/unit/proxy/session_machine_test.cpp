// A session while its backend lives: what is passed on, what is held, what is answered here, what ends it.
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/proxy/session_model_server.hpp"

namespace holdfast::proxy::postgres::test {
namespace {

constexpr std::size_t message_buffer = 64 * 1024;

TEST(session_machine, forwards_whole_messages_and_keeps_the_rest) {
  SessionScript script;
  const auto both = query("SELECT a FROM t") + query("SELECT b FROM t");
  script.client_sends(both.substr(0, both.size() - 1));
  script.expect_to_server("Q:SELECT a FROM t");
  EXPECT_EQ(script.want(), query("SELECT b FROM t").size());
  script.client_sends(both.substr(both.size() - 1));
  script.expect_to_server("Q:SELECT b FROM t");
  EXPECT_TRUE(script.machine.busy());
  EXPECT_TRUE(script.machine.cancellable());
}

TEST(session_machine, streams_copy_data_longer_than_its_buffer) {
  Conversation talk;
  talk.client_sends(query("COPY in"));
  const auto data = message('d', std::string(3 * message_buffer, 'x'));
  talk.script.client_sends(std::string_view(data).substr(0, message_buffer / 2));
  EXPECT_EQ(talk.script.to_server(), data.substr(0, message_buffer / 2)) << "as it comes";
  talk.script.client_sends(data.substr(message_buffer / 2) + message('c'));
  EXPECT_EQ(talk.script.to_server(), data.substr(message_buffer / 2) + message('c'));
}

TEST(session_machine, streams_rows_longer_than_its_buffer) {
  SessionScript script;
  script.client_sends(query("SELECT a FROM t"));
  const auto data = message('D', std::string(2 * message_buffer, 'x'));
  script.server_sends(message('T', std::string_view("\0\0", 2)) + data.substr(0, 100));
  EXPECT_EQ(script.to_client().size(), 7U + 100U);
  script.server_sends(data.substr(100) + complete("SELECT 1") + ready('I'));
  EXPECT_EQ(script.to_client(), data.substr(100) + complete("SELECT 1") + ready('I'));
}

TEST(session_machine, holds_a_long_text_until_it_is_whole) {
  SessionScript script;
  const auto long_query = query("SELECT '" + std::string(5 * message_buffer, 'x') + "'");
  script.client_sends(std::string_view(long_query).substr(0, long_query.size() - 1));
  EXPECT_EQ(script.to_server(), "");
  EXPECT_EQ(script.want(), long_query.size());
  script.client_sends(std::string_view("\0", 1));
  EXPECT_EQ(script.to_server(), long_query);
}

TEST(session_machine, streams_a_text_too_long_to_be_kept) {
  Conversation talk;
  const auto long_query = query("SELECT '" + std::string(2 << 20, 'x') + "'");
  talk.script.client_sends(std::string_view(long_query).substr(0, 70'000));
  EXPECT_EQ(talk.script.to_server().size(), 70'000U);
  talk.script.client_sends(std::string_view(long_query).substr(70'000));
  talk.script.server_sends(result() + complete("SELECT 1") + ready('I'));
  talk.script.expect_to_client("T D C:SELECT 1 ZI");
}

TEST(session_machine, ends_a_session_that_sends_garbage) {
  const std::string bad_type = message('z'), bad_length("Q\0\0\0\3", 5), too_long("Q\x7f\xff\xff\xff", 5),
                    password = message('p', std::string_view("x\0", 2)), bad_query = message('Q', "no end"),
                    bad_parse = message('P', "x"), bad_target = message('D', std::string_view("Xa\0", 3)),
                    bad_execute = message('E', std::string_view("\0\0", 2)), bad_bind = message('B', "x"),
                    bad_close = message('C', "S"), long_sync = message('S', std::string(2 * message_buffer, 'x'));
  for (const auto& bytes : {bad_type, bad_length, too_long, password, bad_query, bad_parse, bad_target, bad_execute,
                            bad_bind, bad_close, long_sync.substr(0, 100)}) {
    SessionScript script;
    script.client_sends(query("SELECT a FROM t") + bytes);
    script.expect_to_server("Q:SELECT a FROM t");
    script.expect_to_client("E:FATAL:08P01");
    EXPECT_TRUE(script.closed());
    EXPECT_TRUE(script.machine.terminated());
    script.server_sends(result() + complete("SELECT 1") + ready('I'));
    EXPECT_EQ(script.to_client(), "") << "nothing follows a FATAL";
    script.client_sends(query("SELECT b FROM t"));
    EXPECT_EQ(script.to_server(), "");
  }
}

TEST(session_machine, ends_quietly_when_the_client_does) {
  SessionScript script;
  script.client_sends(message('X'));
  EXPECT_TRUE(script.closed());
  EXPECT_FALSE(script.machine.terminated());
  EXPECT_EQ(script.to_client(), "");
}

TEST(session_machine, takes_a_server_for_lost_that_breaks_the_protocol) {
  for (const auto& bytes : {std::string("T\0\0\0\3", 5), message('1'), ready('I'), message('E', "x")}) {
    SessionScript script;
    if (bytes == message('1')) script.client_sends(query("SELECT a FROM t"));
    script.server_sends(bytes);
    EXPECT_TRUE(script.lost()) << bytes[0];
    EXPECT_EQ(script.to_client(), "");
  }
}

// ---- errors and notices that announce something, and those that do not ----

TEST(session_machine, passes_on_every_error_of_a_statement_whatever_its_code) {
  for (const auto* code : {"08006", "08P01", "57P01", "57P03", "25006", "40001", "57014"}) {
    SessionScript script;
    script.client_sends(query("SELECT a FROM t"));
    script.server_sends(error(code) + ready('I'));
    script.expect_to_client(std::string("E:") + code + " ZI");
    EXPECT_EQ(script.machine.state(), SessionState::attached);
  }
}

TEST(session_machine, holds_back_a_fatal_that_means_the_server_is_lost) {
  for (const auto* code : {"57P01", "57P02", "57P03", "57P05", "08006", "08003"}) {
    SessionScript script;
    script.server_sends(error(code, "FATAL"));
    EXPECT_EQ(script.to_client(), "") << code;
    EXPECT_EQ(script.server_closes().then, LossResult::Then::stay);
    EXPECT_EQ(script.to_client(), "") << "an idle session sees nothing";
    EXPECT_EQ(script.machine.state(), SessionState::detached);
  }
}

TEST(session_machine, passes_on_a_fatal_that_is_the_clients_and_closes_the_session) {
  for (const auto* code : {"08P01", "53300", "28000", "XX000"}) {
    SessionScript script;
    script.client_sends(query("SELECT a FROM t"));
    script.to_server();
    script.server_sends(error(code, "FATAL"));
    script.expect_to_client(std::string("E:FATAL:") + code);
    const auto result = script.server_closes();
    EXPECT_EQ(result.then, LossResult::Then::close);
    EXPECT_EQ(result.reason, "server_error");
    EXPECT_EQ(script.to_client(), "");
  }
}

TEST(session_machine, holds_a_warning_of_a_shutdown_until_the_next_byte) {
  for (const auto* code : {"57P01", "57P02"}) {
    SessionScript script;
    script.client_sends(query("SELECT a FROM t"));
    script.server_sends(notice("WARNING", code, "by RAISE"));
    EXPECT_EQ(script.to_client(), "");
    script.server_sends(complete("SELECT 1") + ready('I'));
    script.expect_to_client(std::string("N:") + code + " C:SELECT 1 ZI");
    script.server_sends(notice("WARNING", code, "shutdown"));
    script.server_closes();
    EXPECT_EQ(script.to_client(), "");
    EXPECT_EQ(script.machine.loss().message, "shutdown");
  }
  SessionScript other;
  other.server_sends(notice("WARNING", "01000", "ordinary"));
  other.expect_to_client("N:01000");
}

TEST(session_machine, gives_notifications_of_its_own_the_process_id_that_the_client_knows) {
  SessionScript script;
  script.server_closes();
  ASSERT_TRUE(script.attach(200));
  std::string own, foreign;
  pg::Writer(own, 'A').i32(200).cstring("c").cstring("").finish();
  pg::Writer(foreign, 'A').i32(201).cstring("c").cstring("").finish();
  script.server_sends(own + foreign);
  const auto got = split(script.to_client());
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(pg::load_u32(got[0].data() + pg::header_size), 100U);
  EXPECT_EQ(pg::load_u32(got[1].data() + pg::header_size), 201U);
  // The new server may have given the number that the client knows as its own to another.
  std::string same;
  pg::Writer(same, 'A').i32(100).cstring("c").cstring("").finish();
  script.server_sends(same);
  EXPECT_EQ(pg::load_u32(script.to_client().data() + pg::header_size), 200U);
}

// ---- attaching again ----

TEST(session_machine, sends_the_parameters_that_differ_on_a_new_server) {
  SessionScript script;
  std::string changed;
  pg::write_parameter_status(changed, "TimeZone", "CET");
  script.server_sends(changed);
  EXPECT_EQ(script.to_client(), changed);
  script.server_closes();
  auto parameters = server_parameters();
  parameters["server_version"] = "15.5";
  ASSERT_TRUE(script.attach(200, parameters));
  std::string expected;
  pg::write_parameter_status(expected, "TimeZone", "UTC");
  std::string version;
  pg::write_parameter_status(version, "server_version", "15.5");
  EXPECT_EQ(script.to_client(), expected + version);
  script.server_closes();
  ASSERT_TRUE(script.attach(300, parameters));
  EXPECT_EQ(script.to_client(), "") << "told once";
}

TEST(session_machine, ends_where_the_new_server_is_of_another_kind) {
  for (const auto& [name, value] : {std::pair{"server_version", "16.1"}, std::pair{"server_encoding", "LATIN1"},
                                    std::pair{"integer_datetimes", "off"}}) {
    SessionScript script;
    script.server_closes();
    auto parameters = server_parameters();
    parameters[name] = value;
    EXPECT_FALSE(script.attach(200, parameters));
    const auto said = script.to_client();
    EXPECT_EQ(brief(said), "E:FATAL:57P01");
    EXPECT_NE(said.find("terminating connection"), std::string::npos);
  }
}

TEST(session_machine, tells_a_listening_client_of_the_gap) {
  Conversation talk;
  EXPECT_EQ(brief(talk.client_sends(query("LISTEN orders"))), "C:LISTEN ZI");
  EXPECT_TRUE(talk.script.machine.listening());
  EXPECT_EQ(talk.lose().then, LossResult::Then::attach_now);
  EXPECT_EQ(brief(talk.attach()), "N:01000");
  EXPECT_EQ(talk.script.machine.statistics().notification_gaps, 1U);
}

// ---- while there is no backend ----

TEST(session_machine, holds_a_statement_until_a_backend_is_there) {
  Conversation talk;
  talk.lose();
  EXPECT_EQ(talk.client_sends(query("SELECT a FROM t")), "");
  EXPECT_TRUE(talk.script.held());
  EXPECT_EQ(brief(talk.attach()), "T D C:SELECT 1 ZI");
}

TEST(session_machine, refuses_a_simple_statement_that_waits) {
  Conversation talk;
  talk.lose();
  talk.client_sends(query("SELECT a FROM t") + query("SELECT b FROM t"));
  talk.script.refuse("57P03", "no upstream");
  talk.script.expect_to_client("E:57P03 ZI");
  EXPECT_TRUE(talk.script.held()) << "the second one waits for its own turn";
  EXPECT_EQ(brief(talk.attach()), "T D C:SELECT 1 ZI");
}

TEST(session_machine, refuses_an_extended_segment_once) {
  Conversation talk;
  talk.lose();
  talk.client_sends(extended("SELECT a FROM t"));
  talk.script.refuse("57P03", "no upstream");
  talk.script.expect_to_client("E:57P03");
  talk.client_sends(extended("INSERT INTO t VALUES (1)"));
  EXPECT_FALSE(talk.script.held());
  EXPECT_EQ(brief(talk.client_sends(sync())), "ZI");
  EXPECT_EQ(talk.client_sends(extended("SELECT a FROM t") + sync()), "");
  EXPECT_EQ(brief(talk.attach()), "1 2 D C:SELECT 1 ZI");
  EXPECT_EQ(talk.server.executed, std::vector<std::string>{"SELECT a FROM t"});
}

TEST(session_machine, does_not_refuse_what_comes_after_a_backend_was_found) {
  Conversation talk;
  talk.lose();
  talk.script.machine.refuse("57014", "canceled");
  talk.attach();
  EXPECT_EQ(brief(talk.client_sends(query("SELECT a FROM t"))), "T D C:SELECT 1 ZI");
  talk.lose();
  talk.client_sends(query("SELECT a FROM t"));
  EXPECT_TRUE(talk.script.held());
}

TEST(session_machine, answers_a_lone_sync_without_a_backend) {
  Conversation talk;
  talk.lose();
  EXPECT_EQ(brief(talk.client_sends(message('H') + sync())), "ZI");
  EXPECT_FALSE(talk.script.held());
}

// ---- bytes that could not be written ----

TEST(session_machine, takes_back_what_was_never_sent) {
  Conversation talk;
  talk.client_sends(parse("s1", "SELECT a FROM t") + sync());
  talk.lose();
  talk.client_sends(parse("s2", "SELECT b FROM t") + bind("s1") + close('S', "s1") + sync());
  auto& machine = talk.script.machine;
  ASSERT_TRUE(machine.on_attached(200, server_parameters(), SessionMachine::Attachment::again));
  const auto bytes = parse("s2", "SELECT b FROM t") + bind("s1") + close('S', "s1") + sync();
  // The shell is told to write the first message and an injected Parse, and cannot write any of it.
  const auto step = machine.on_client_bytes(bytes);
  EXPECT_EQ(step.next, Step::Next::again);
  EXPECT_EQ(brief_requests(machine.server_output), "P:s1");
  machine.server_output.clear();
  machine.unwind_client_bytes();
  EXPECT_FALSE(machine.busy());
  talk.lose();
  talk.script.expect_to_client("");
  EXPECT_EQ(brief(talk.attach()), "1 2 3 ZI");
  EXPECT_EQ(brief_requests(talk.sent), "P:s2 P:s1 B C S") << "both are known still, and the older one is parsed again";
}

TEST(session_machine, takes_back_only_what_was_not_sent_though_older_replies_came_meanwhile) {
  SessionScript script;
  script.client_sends(query("INSERT INTO t VALUES (1)"));
  script.to_server();
  const auto second = query("INSERT INTO t VALUES (2)");
  const auto step = script.machine.on_client_bytes(second);
  EXPECT_EQ(step.forward, second.size());
  script.server_sends(complete("INSERT 0 1") + ready('I'));
  script.expect_to_client("C:INSERT 0 1 ZI");
  script.machine.unwind_client_bytes();
  EXPECT_FALSE(script.machine.busy());
  script.server_closes();
  EXPECT_EQ(script.to_client(), "") << "the second statement was never sent: it is simply held";
  script.client_sends(second);
  EXPECT_TRUE(script.held());
}

TEST(session_machine, sends_statements_of_its_own_before_what_the_client_says_later) {
  SessionScript script;
  script.client_sends(query("SELECT app.f(1)"));
  script.server_sends(result() + complete("SELECT 1") + ready('I'));
  script.to_server();
  ASSERT_TRUE(script.machine.snapshot_due());
  script.machine.begin_snapshot();  // not written yet when the client speaks
  script.client_sends(query("SELECT a FROM t"));
  script.expect_to_server("P:holdfast_snapshot B E C C S Q:SELECT a FROM t");
}

}  // namespace
}  // namespace holdfast::proxy::postgres::test
