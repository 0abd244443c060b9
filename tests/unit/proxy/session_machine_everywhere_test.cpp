// Whole conversations, run again cut at every byte and with the backend lost at every byte.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/unit/proxy/session_model_server.hpp"

namespace holdfast::proxy::postgres::test {
namespace {

/// Each turn is what the client sends before it waits for the answers.
struct Talk {
  const char* name;
  std::vector<std::string> turns;
};

std::vector<Talk> talks() {
  const auto select = extended("SELECT a FROM t") + sync();
  const auto named = bind("s1") + execute() + sync();
  return {
      {"simple", {query("SELECT a FROM t"), query("INSERT INTO t VALUES (1)"), query(""), query("fail")}},
      {"simple_pipelined", {query("SELECT a FROM t") + query("fail") + query("INSERT INTO t VALUES (1)")}},
      {"extended", {parse("", "SELECT a FROM t") + bind("") + describe('P') + execute() + sync(), select + select}},
      {"extended_with_an_error", {extended("SELECT a FROM t") + extended("fail") + extended("INSERT INTO t VALUES (1)") +
                                  sync() + select}},
      {"extended_with_flush", {parse("s1", "SELECT a FROM t") + describe('S', "s1") + message('H'), named, named}},
      {"error_before_its_sync", {extended("fail") + message('H'), extended("SELECT a FROM t"), sync(), select}},
      {"transaction", {query("BEGIN"), query("INSERT INTO t VALUES (1)"), query("SELECT a FROM t"), query("COMMIT")}},
      {"transaction_pipelined", {query("BEGIN") + query("INSERT INTO t VALUES (1)") + query("COMMIT")}},
      {"transaction_rolled_back", {query("BEGIN"), query("fail"), query("SELECT a FROM t"), query("ROLLBACK")}},
      {"transaction_extended",
       {extended("BEGIN") + sync(), extended("INSERT INTO t VALUES (1)") + sync(), extended("COMMIT") + sync()}},
      {"transaction_in_one_segment",
       {extended("BEGIN") + extended("INSERT INTO t VALUES (1)") + extended("COMMIT") + sync()}},
      {"prepared", {parse("s1", "SELECT a FROM t") + sync(), named, named, close('S', "s1") + sync(), named}},
      {"prepared_twice", {parse("s1", "SELECT a FROM t") + sync(), parse("s1", "SELECT b FROM t") + sync(), named}},
      {"parse_that_fails", {parse("", "SELECT a FROM t") + sync(), parse("", "unparsable") + sync(),
                            bind("") + execute() + sync()}},
      {"copy_in", {query("COPY in"), message('d', "1\n") + message('c'), query("SELECT a FROM t")}},
      {"copy_in_given_up", {query("COPY in"), message('d', "1\n") + message('f', std::string_view("no\0", 3))}},
      {"copy_in_extended", {extended("COPY in") + sync(), message('d', "1\n") + message('c') + sync(), select}},
      {"copy_out", {query("COPY out"), extended("COPY out") + sync()}},
      {"settings", {query("SET TimeZone = 'UTC'"), query("BEGIN"), query("SET work_mem = '8MB'"), query("COMMIT"), select}},
      {"discard", {parse("s1", "SELECT a FROM t") + sync(), query("DISCARD ALL"), named}},
      {"sync_alone", {sync(), sync() + sync()}},
  };
}

template <class Send>
void send_in_pieces(const std::string& bytes, std::size_t piece, Send send) {
  for (std::size_t at = 0; at < bytes.size(); at += piece) send(std::string_view(bytes).substr(at, piece));
}

struct Streams {
  std::string to_server, to_client;
  bool operator==(const Streams&) const = default;
};

/// Plays a talk; `cut(bytes, send)` sends the bytes of a turn or of its answers in pieces.
template <class Cut>
Streams play(const Talk& talk, Cut cut) {
  SessionScript script;
  ModelServer server;
  ClientChecker checker;
  Streams streams;
  for (const auto& turn : talk.turns) {
    checker.sent(turn);
    cut(turn, [&](std::string_view part) { script.client_sends(part); });
    for (auto requests = script.to_server(); !requests.empty(); requests = script.to_server()) {
      streams.to_server += requests;
      cut(server.feed(requests), [&](std::string_view part) { script.server_sends(part); });
    }
    const auto got = script.to_client();
    checker.received(got);
    streams.to_client += got;
  }
  EXPECT_TRUE(checker.settled()) << talk.name;
  EXPECT_FALSE(script.closed());
  EXPECT_FALSE(script.lost());
  return streams;
}

class EveryTalk : public ::testing::TestWithParam<Talk> {};

TEST_P(EveryTalk, passes_unchanged_however_its_bytes_are_cut) {
  const auto whole = play(GetParam(), [](const std::string& bytes, auto send) { send(bytes); });
  ASSERT_FALSE(whole.to_client.empty());
  for (const std::size_t piece : {1U, 2U, 3U, 5U, 7U, 11U}) {
    EXPECT_EQ(play(GetParam(), [&](const std::string& bytes, auto send) { send_in_pieces(bytes, piece, send); }), whole)
        << "pieces of " << piece;
  }
  std::size_t longest = 0;
  for (const auto& turn : GetParam().turns) longest = std::max(longest, turn.size());
  longest = std::max(longest, whole.to_client.size());
  for (std::size_t at = 1; at < longest; ++at) {
    const auto cut = [&](const std::string& bytes, auto send) {
      send(std::string_view(bytes).substr(0, at));
      if (at < bytes.size()) send(std::string_view(bytes).substr(at));
    };
    ASSERT_EQ(play(GetParam(), cut), whole) << "cut at " << at;
  }
}

enum class After { refused, attached };

/// What the client has seen when the backend was lost and everything was run again must be what it sees without a loss.
std::string without_loss(const Talk& talk) {
  return play(talk, [](const std::string& bytes, auto send) { send(bytes); }).to_client;
}

bool names_a_loss(const std::string& bytes) {
  const auto shown = brief(bytes);
  return shown.find("E:40001") != std::string::npos || shown.find("E:08007") != std::string::npos ||
         shown.find("57P0") != std::string::npos;
}

/// Plays a talk byte by byte and loses the backend before byte number `moment`, counted over both directions; then the
/// client says what it had left to say. False when the talk was over before.
bool play_with_loss(const Talk& talk, std::size_t moment, After after, std::string_view last_words,
                    SessionOptions options = {}, std::size_t* transparent = nullptr) {
  SessionScript script(std::move(options));
  std::string seen;
  ModelServer server;
  ClientChecker checker;
  std::size_t bytes = 0;
  bool lost = false, ended = false;
  const auto lose = [&] {
    lost = true;
    if (!last_words.empty() && !script.server_in_the_middle()) script.server_sends(last_words);
    server = ModelServer{};
    static_cast<void>(script.to_server());
    ended = script.server_closes().then == LossResult::Then::close;
  };
  const auto settle = [&] {
    for (;;) {
      const auto requests = script.to_server();
      if (!requests.empty()) {
        for (const char byte : server.feed(requests)) {
          if (!lost && bytes++ == moment) {
            lose();
            break;
          }
          script.server_sends({&byte, 1});
        }
        continue;
      }
      const auto got = script.to_client();
      checker.received(got);
      seen += got;
      const bool waits = script.held() || (script.machine.replaying() && script.machine.state() == SessionState::detached);
      if (ended || !waits) return;
      // Each round answers something or hands it to a server that answers everything.
      if (after == After::attached) {
        EXPECT_TRUE(script.attach());
      } else {
        script.refuse("57P03", "no upstream");
      }
    }
  };
  for (const auto& turn : talk.turns) {
    checker.sent(turn);
    for (const char byte : turn) {
      if (!lost && bytes++ == moment) lose();
      if (ended) break;
      script.client_sends({&byte, 1});
      if (lost) settle();
    }
    settle();
    if (ended) break;
  }
  const bool within = lost;
  lost = true;  // what follows is not cut
  if (ended) {
    EXPECT_TRUE(checker.ended()) << "closed without a word";
    return within;
  }
  EXPECT_TRUE(checker.settled()) << "something was left without an answer";
  EXPECT_FALSE(script.machine.replaying());
  if (transparent != nullptr && within && !names_a_loss(seen)) {
    ++*transparent;
    EXPECT_EQ(brief(seen), brief(without_loss(talk))) << "the client has seen something else";
  }
  if (checker.status() != 'I') {
    const auto rollback = query("ROLLBACK");
    checker.sent(rollback);
    script.client_sends(rollback);
    settle();
    EXPECT_EQ(checker.status(), 'I') << "ROLLBACK does not end the transaction";
  }
  // The session is whole: another statement on another server works.
  checker.sent(query("SELECT a FROM t"));
  script.client_sends(query("SELECT a FROM t"));
  after = After::attached;
  settle();
  EXPECT_TRUE(checker.settled());
  EXPECT_FALSE(checker.error_in_segment());
  EXPECT_EQ(script.machine.state(), SessionState::attached);
  return within;
}

TEST_P(EveryTalk, stays_legal_wherever_its_backend_is_lost) {
  for (const auto after : {After::refused, After::attached}) {
    for (const auto& words : {std::string(), error("57P01", "FATAL"), notice("WARNING", "57P02", "shutdown")}) {
      std::size_t moment = 0;
      while (play_with_loss(GetParam(), moment, after, words)) {
        ASSERT_FALSE(HasFailure()) << "lost before byte " << moment << ", words " << brief(words);
        ++moment;
      }
      EXPECT_GT(moment, 10U);
    }
  }
}

TEST_P(EveryTalk, is_run_again_unseen_or_named_as_lost_wherever_its_backend_is_lost) {
  std::size_t transparent = 0, moment = 0;
  for (const auto after : {After::refused, After::attached}) {
    for (const auto& words : {std::string(), error("57P01", "FATAL"), notice("WARNING", "57P02", "shutdown")}) {
      moment = 0;
      while (play_with_loss(GetParam(), moment, after, words, with_replay(), &transparent)) {
        ASSERT_FALSE(HasFailure()) << "lost before byte " << moment << ", words " << brief(words);
        ++moment;
      }
    }
  }
  RecordProperty("transparent", static_cast<int>(transparent));
  EXPECT_GT(transparent, 0U);
}

INSTANTIATE_TEST_SUITE_P(session_machine, EveryTalk, ::testing::ValuesIn(talks()),
                         [](const auto& talk) { return std::string(talk.param.name); });

}  // namespace
}  // namespace holdfast::proxy::postgres::test
