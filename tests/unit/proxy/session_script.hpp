// A session machine driven by hand: what the client and the server send, and what reaches each of them. Plays the shell's
// part as session.cpp does it. Checks on the way that the machine keeps its word (forward <= consume <= shown), and that
// what the client gets is legal PostgreSQL.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/postgres/messages.hpp"
#include "proxy/postgres/session_machine.hpp"

namespace holdfast::proxy::postgres::test {

// ---- messages, as each side writes them ----

inline std::string message(char type, std::string_view body = {}) {
  std::string out;
  pg::Writer(out, type).bytes(body).finish();
  return out;
}
inline std::string query(std::string_view text) {
  std::string out;
  pg::write_query(out, text);
  return out;
}
inline std::string parse(std::string_view name, std::string_view text) {
  std::string out;
  pg::Writer(out, pg::frontend::parse).cstring(name).cstring(text).i16(0).finish();
  return out;
}
inline std::string bind(std::string_view statement, std::string_view portal = {}) {
  std::string out;
  pg::Writer(out, pg::frontend::bind).cstring(portal).cstring(statement).i16(0).i16(0).i16(0).finish();
  return out;
}
inline std::string target(char type, char kind, std::string_view name) {
  std::string out;
  pg::Writer(out, type).u8(static_cast<std::uint8_t>(kind)).cstring(name).finish();
  return out;
}
inline std::string describe(char kind, std::string_view name = {}) { return target(pg::frontend::describe, kind, name); }
inline std::string close(char kind, std::string_view name = {}) { return target(pg::frontend::close, kind, name); }
inline std::string execute(std::string_view portal = {}, std::int32_t rows = 0) {
  std::string out;
  pg::Writer(out, pg::frontend::execute).cstring(portal).i32(rows).finish();
  return out;
}
inline std::string sync() { return message(pg::frontend::sync); }
/// Parse, Bind, Execute of the unnamed statement; no Sync.
inline std::string extended(std::string_view text) { return parse("", text) + bind("") + execute(); }

inline std::string ready(char status) {
  std::string out;
  pg::write_ready_for_query(out, status);
  return out;
}
inline std::string complete(std::string_view tag) {
  std::string out;
  pg::write_command_complete(out, tag);
  return out;
}
inline std::string error(std::string_view code, std::string_view severity = "ERROR", std::string_view text = "server's") {
  std::string out;
  pg::write_error(out, {severity, code, text});
  return out;
}
inline std::string notice(std::string_view severity, std::string_view code, std::string_view text) {
  std::string out;
  pg::write_notice(out, {severity, code, text});
  return out;
}
inline std::string row(const std::vector<std::string>& columns) {
  std::string out;
  pg::Writer writer(out, pg::backend::data_row);
  writer.i16(static_cast<std::int16_t>(columns.size()));
  for (const auto& column : columns) writer.i32(static_cast<std::int32_t>(column.size())).bytes(column);
  writer.finish();
  return out;
}
inline std::string result() { return message('T', std::string_view("\0\0", 2)) + row({"1"}); }
inline const std::string parsed = message('1'), bound = message('2'), closed = message('3'), no_data = message('n'),
                         copy_in = message('G', std::string_view("\0\0\0", 3)),
                         copy_out = message('H', std::string_view("\0\0\0", 3)), copy_done = message('c');

/// Splits whole messages; what is left over is a failure.
inline std::vector<std::string> split(std::string_view bytes) {
  std::vector<std::string> out;
  while (!bytes.empty()) {
    pg::Header header;
    if (pg::read_header(bytes, header) != pg::HeaderResult::complete || bytes.size() < header.size) {
      ADD_FAILURE() << "not a whole message: " << bytes.size() << " bytes left";
      break;
    }
    out.emplace_back(bytes.substr(0, header.size));
    bytes.remove_prefix(header.size);
  }
  return out;
}

/// A short form for comparisons: types, with SQLSTATE of an error or notice, tag, ReadyForQuery's status.
inline std::string brief(std::string_view bytes) {
  std::string out;
  for (const auto& one : split(bytes)) {
    if (!out.empty()) out += ' ';
    const auto body = std::string_view(one).substr(pg::header_size);
    out += one[0];
    if (one[0] == 'E' || one[0] == 'N') {
      if (const auto fields = pg::parse_error(body)) {
        out += ':';
        if (fields->severity == "FATAL") out += "FATAL:";
        out += fields->code;
      }
    } else if (one[0] == 'C') {
      out += ':' + std::string(pg::command_tag(body));
    } else if (one[0] == 'Z') {
      out += body;
    }
  }
  return out;
}
/// The same for what goes to a server: types, with the name of a Parse and the text of a Query.
inline std::string brief_requests(std::string_view bytes) {
  std::string out;
  for (const auto& one : split(bytes)) {
    if (!out.empty()) out += ' ';
    pg::Reader reader(std::string_view(one).substr(pg::header_size));
    out += one[0];
    if (one[0] == 'P' || one[0] == 'Q') out += ':' + std::string(reader.cstring());
  }
  return out;
}

/// What a client must be able to rely on, whatever happens behind the proxy.
class ClientChecker {
 public:
  void sent(std::string_view bytes) {
    for (const auto& one : split(bytes)) {
      const char type = one[0];
      if (type == 'Q' || type == 'F') {
        owed_.push_back(one[0]);
      } else if (type == 'S') {
        if (!copying_) owed_.push_back('S');
      }
      if (type == 'c' || type == 'f') copying_ = false;
    }
  }
  void received(std::string_view bytes) {
    for (const auto& one : split(bytes)) on_message(one);
  }
  /// Every Query and Sync was answered, once.
  [[nodiscard]] bool settled() const { return owed_.empty(); }
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] char status() const { return status_; }
  [[nodiscard]] bool error_in_segment() const { return errors_ > 0; }

 private:
  void on_message(const std::string& one) {
    ASSERT_FALSE(ended_) << "a message after FATAL: " << one[0];
    const auto body = std::string_view(one).substr(pg::header_size);
    switch (one[0]) {
      case 'Z':
        ASSERT_FALSE(owed_.empty()) << "ReadyForQuery that nothing asked for";
        owed_.pop_front();
        ASSERT_EQ(body.size(), 1U);
        ASSERT_NE(std::string_view("ITE").find(body[0]), std::string_view::npos) << body;
        ASSERT_TRUE(status_ == 'E' || body[0] != 'E' || errors_ > 0) << "a failed transaction without an error";
        ASSERT_TRUE(status_ != 'E' || body[0] != 'T' || ended_in_segment_) << "a failed transaction that is whole again";
        status_ = body[0];
        errors_ = 0;
        ended_in_segment_ = false;
        copying_ = false;
        break;
      case 'E': {
        const auto fields = pg::parse_error(body);
        ASSERT_TRUE(fields);
        if (fields->ends_connection()) {
          ended_ = true;
          return;
        }
        ASSERT_EQ(++errors_, 1) << "two errors in one segment: " << fields->code;
        ASSERT_NE(fields->code, "XX000");
        copying_ = false;
        break;
      }
      case 'N': case 'A': case 'S': break;
      case 'C':
        // ROLLBACK TO has that tag too: the transaction may be whole again behind it.
        if (pg::command_tag(body) == "ROLLBACK" || pg::command_tag(body) == "COMMIT") ended_in_segment_ = true;
        ASSERT_EQ(errors_, 0) << "a reply after an error of its segment";
        break;
      case 'G':
        copying_ = true;
        // The server ignores each Sync that it reads before the copy ends.
        std::erase(owed_, 'S');
        [[fallthrough]];
      default: ASSERT_EQ(errors_, 0) << "a reply after an error of its segment: " << one[0]; break;
    }
  }

  std::deque<char> owed_;
  int errors_ = 0;
  char status_ = 'I';
  bool ended_ = false, copying_ = false, ended_in_segment_ = false;
};

inline Parameters server_parameters() {
  return {{"server_version", "15.4"}, {"server_encoding", "UTF8"}, {"integer_datetimes", "on"}, {"TimeZone", "UTC"}};
}

/// What is lost may be run again.
inline SessionOptions with_replay() {
  SessionOptions options;
  options.replay_limit = 64 * 1024;
  return options;
}

/// One session. Outputs are collected until they are expected.
class SessionScript {
 public:
  explicit SessionScript(SessionOptions options = {}) : machine(with_name(std::move(options))) {
    machine.set_user("app");
    EXPECT_TRUE(machine.on_attached(100, server_parameters(), SessionMachine::Attachment::first));
  }

  void client_sends(std::string_view bytes) {
    client_in_ += bytes;
    pump_client();
  }
  void server_sends(std::string_view bytes) {
    server_in_ += bytes;
    pump_server();
  }
  /// What reached the server since the last call.
  std::string to_server() { return std::exchange(to_server_, {}); }
  std::string to_client() { return std::exchange(to_client_, {}); }
  void expect_to_server(std::string_view expected) { EXPECT_EQ(brief_requests(to_server()), expected); }
  void expect_to_client(std::string_view expected) { EXPECT_EQ(brief(to_client()), expected); }

  LossResult server_closes(std::string reason = "reset", Witness witness = Witness::gone) {
    server_in_.clear();
    machine.on_backend_closed(std::move(reason));
    const auto result = machine.resolve_loss(witness);
    flush();
    pump_client();
    return result;
  }
  /// `reads`: what the new backend's catalog says of reads that are to be run again.
  bool attach(std::int32_t process_id = 200, Parameters parameters = server_parameters(),
              SessionMachine::Reads reads = SessionMachine::Reads::proven) {
    if (!machine.unproven_reads().empty()) machine.on_reads_judged(reads);
    const bool fits = machine.on_attached(process_id, std::move(parameters), SessionMachine::Attachment::again);
    flush();
    pump_client();
    return fits;
  }
  /// The backend is lost, and the next one says what became of the commit under way.
  void is_lost_and_told(SessionMachine::Outcome outcome) {
    server_closes();
    machine.on_commit_judged(outcome);
    ASSERT_TRUE(attach());
  }
  void refuse(std::string_view code, std::string text) {
    machine.refuse(code, std::move(text));
    flush();
    pump_client();
  }
  void snapshot() {
    machine.begin_snapshot();
    flush();
  }
  [[nodiscard]] bool held() const { return held_; }
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] bool lost() const { return lost_; }
  /// A part of a message of the server has come.
  [[nodiscard]] bool server_in_the_middle() const { return !server_in_.empty(); }
  [[nodiscard]] std::size_t want() const { return want_; }

  SessionMachine machine;

 private:
  static SessionOptions with_name(SessionOptions options) {
    options.connection = "orders";
    return options;
  }
  void flush() {
    to_client_ += std::exchange(machine.client_output, {});
    to_server_ += std::exchange(machine.server_output, {});
  }
  void pump_client() {
    for (int rounds = 0;; ++rounds) {
      ASSERT_LT(rounds, 1'000'000) << "the machine does not come to an end";
      // A block of its own, so that a sanitizer sees every read past the end.
      const std::vector<char> shown(client_in_.begin(), client_in_.end());
      const auto step = machine.on_client_bytes({shown.data(), shown.size()});
      ASSERT_LE(step.forward, step.consume);
      ASSERT_LE(step.consume, shown.size());
      to_server_.append(shown.data(), step.forward);
      client_in_.erase(0, step.consume);
      flush();
      want_ = step.want;
      held_ = step.next == Step::Next::hold;
      if (step.next == Step::Next::close) closed_ = true;
      if (step.next != Step::Next::again) return;
    }
  }
  void pump_server() {
    const bool replaying = machine.replaying();
    show_server_bytes();
    if (replaying && !machine.replaying()) pump_client();
  }
  void show_server_bytes() {
    for (int rounds = 0;; ++rounds) {
      ASSERT_LT(rounds, 1'000'000) << "the machine does not come to an end";
      std::vector<char> shown(server_in_.begin(), server_in_.end());
      const auto step = machine.on_server_bytes({shown.data(), shown.size()});
      ASSERT_LE(step.forward, step.consume);
      ASSERT_LE(step.consume, shown.size());
      to_client_.append(shown.data(), step.forward);
      server_in_.erase(0, step.consume);
      flush();
      if (step.next == Step::Next::lost) lost_ = true;
      if (step.next != Step::Next::again) return;
    }
  }

  std::string client_in_, server_in_, to_server_, to_client_;
  bool held_ = false, closed_ = false, lost_ = false;
  std::size_t want_ = 0;
};

}  // namespace holdfast::proxy::postgres::test
