// A PostgreSQL server in miniature: answers simple and extended queries, transactions, COPY and errors as the protocol
// says, and writes down what it was asked to run. Knows a dozen words of SQL by how a text begins.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/unit/proxy/session_script.hpp"

namespace holdfast::proxy::postgres::test {

class ModelServer {
 public:
  /// Whole messages or parts of them; returns the replies.
  std::string feed(std::string_view bytes) {
    in_ += bytes;
    std::string out;
    pg::Header header;
    while (pg::read_header(in_, header) == pg::HeaderResult::complete && in_.size() >= header.size) {
      on_message(header.type, std::string(in_.substr(pg::header_size, header.size - pg::header_size)), out);
      in_.erase(0, header.size);
    }
    return out;
  }

  std::vector<std::string> executed;                           // texts that ran, in order
  std::vector<std::vector<std::string>> snapshot_rows;         // kind, name, value
  std::map<std::string, std::string> prepared;                 // protocol-level names

 private:
  void on_message(char type, const std::string& body, std::string& out) {
    if (copying_) return on_copy_message(type, out);
    if (skip_ && type != 'S') return;
    pg::Reader reader(body);
    switch (type) {
      case 'Q': {
        run(std::string(reader.cstring()), true, out);
        if (!copying_) out += ready(status_);
        break;
      }
      case 'P': {
        const std::string name(reader.cstring()), text(reader.cstring());
        if (!name.empty() && prepared.contains(name)) return fail("42P05", out);
        if (text.find("unparsable") != std::string::npos) return fail("42601", out);
        if (status_ == 'E' && !ends(text)) return fail("25P02", out);
        prepared[name] = text;
        out += parsed;
        break;
      }
      case 'B': {
        const std::string portal(reader.cstring()), name(reader.cstring());
        if (!prepared.contains(name)) return fail("26000", out);
        portals_[portal] = prepared[name];
        out += bound;
        break;
      }
      case 'D':
        if (reader.u8() == 'S') out += message('t', std::string_view("\0\0", 2));
        out += no_data;
        break;
      case 'E': {
        const std::string portal(reader.cstring());
        if (!portals_.contains(portal)) return fail("34000", out);
        run(portals_[portal], false, out);
        break;
      }
      case 'C':
        if (reader.u8() == 'S') prepared.erase(std::string(reader.cstring()));
        out += closed;
        break;
      case 'S':
        skip_ = false;
        out += ready(status_);
        break;
      default: break;
    }
  }

  void on_copy_message(char type, std::string& out) {
    if (type != 'c' && type != 'f') return;  // Sync and Flush are ignored
    copying_ = false;
    if (type == 'f') {
      fail("57014", out);
      skip_ = !simple_copy_;
    } else {
      out += complete("COPY 1");
    }
    if (simple_copy_) out += ready(status_);
  }

  void run(const std::string& text, bool simple, std::string& out) {
    const auto is = [&](std::string_view start) { return text.starts_with(start); };
    if (status_ == 'E' && !ends(text)) return fail_in(simple, "25P02", out);
    executed.push_back(text);
    if (is("BEGIN")) {
      status_ = 'T';
      out += complete("BEGIN");
    } else if (ends(text)) {
      out += complete(is("COMMIT") && status_ == 'T' ? "COMMIT" : "ROLLBACK");
      status_ = 'I';
    } else if (is("fail")) {
      fail_in(simple, "22012", out);
    } else if (is("COPY in")) {
      copying_ = true;
      simple_copy_ = simple;
      out += copy_in;
    } else if (is("COPY out")) {
      out += copy_out + message('d', "1\n") + message('d', "2\n") + copy_done + complete("COPY 2");
    } else if (is("SELECT 'setting'")) {
      for (const auto& columns : snapshot_rows) out += row(columns);
      out += complete("SELECT 0");
    } else if (is("SELECT")) {
      out += simple ? result() : row({"1"});
      out += complete("SELECT 1");
    } else if (is("DEALLOCATE ALL") || is("DISCARD ALL")) {
      std::erase_if(prepared, [](const auto& entry) { return !entry.first.empty(); });
      out += complete(text);
    } else {
      out += complete(is("SET") ? "SET" : is("INSERT") ? "INSERT 0 1" : text.substr(0, text.find(' ')));
    }
  }

  static bool ends(std::string_view text) { return text.starts_with("COMMIT") || text.starts_with("ROLLBACK"); }
  void fail_in(bool simple, std::string_view code, std::string& out) {
    fail(code, out);
    if (simple) skip_ = false;
  }
  void fail(std::string_view code, std::string& out) {
    out += error(code);
    if (status_ == 'T') status_ = 'E';
    skip_ = true;
  }

  std::string in_;
  std::map<std::string, std::string> portals_;
  char status_ = 'I';
  bool skip_ = false, copying_ = false, simple_copy_ = false;
};

/// A session and a server that answers it at once.
class Conversation {
 public:
  explicit Conversation(SessionOptions options = {}) : script(std::move(options)) {}
  /// The client sends, and everything that follows from it happens.
  std::string client_sends(std::string_view bytes) {
    script.client_sends(bytes);
    return settle();
  }
  std::string settle() {
    std::string out = script.to_client();
    for (auto requests = script.to_server(); !requests.empty(); requests = script.to_server()) {
      sent += requests;
      script.server_sends(server.feed(requests));
      out += script.to_client();
    }
    return out;
  }
  /// The backend is lost; a new one is attached where the client speaks again.
  LossResult lose(Witness witness = Witness::gone, std::string reason = "reset") {
    server = ModelServer{};
    sent.clear();
    return script.server_closes(std::move(reason), witness);
  }
  std::string attach(std::int32_t process_id = 200) {
    EXPECT_TRUE(script.attach(process_id));
    return settle();
  }

  SessionScript script;
  ModelServer server;
  std::string sent;  // to the backend of now
};

}  // namespace holdfast::proxy::postgres::test
