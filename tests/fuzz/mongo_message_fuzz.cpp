// Any bytes as a request, a query, a reply and a hello: read without a fault, and what is made of them is a message again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "protocol/mongo/command.hpp"
#include "protocol/mongo/document.hpp"
#include "protocol/mongo/frame.hpp"
#include "protocol/mongo/hello.hpp"
#include "protocol/mongo/projection.hpp"
#include "protocol/mongo/reply.hpp"
#include "protocol/mongo/several.hpp"

using namespace holdfast::mongo;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void read_body(const Message& message) {
  const auto command = read_command(message);
  const auto reply = read_reply(message.body);
  const auto verdict = judge(command, reply);
  require(reply.readable || verdict != Verdict::believed);
  static_cast<void>(accounts_for_all(command, reply));
  static_cast<void>(read_member_hello(message.body));
  static_cast<void>(read_hello_request(message.body, Face{}));
  static_cast<void>(operations_in(message.body));
  KilledCursors killed;
  require(!killed.add(message.body) || reply.ok);
  require(for_each(killed.body(), [](const Element&) { return true; }) == Walk::complete);
  const auto fields = find(message.body, "fields");
  const auto shown = fields ? project(message.body, fields->bytes) : std::nullopt;
  require(!shown || project(*shown, fields->bytes) == shown);
  if (for_each(message.body, [](const Element&) { return true; }) != Walk::complete) {
    require(!is_deduplicated(command) && command.kind != CommandKind::read);
    return;
  }
  for (const auto& body : {body_of_repeated_commit(message.body), body_with_time_limit(message.body, 1), body_of_abort(message.body),
                           body_of_kill_cursors(message.body, command.cursors), body_with_sessions(message.body, sessions_to_kill(message.body))}) {
    require(for_each(body, [](const Element&) { return true; }) == Walk::complete);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Message message;
  if (parse_message(bytes, message) == FrameError::none) {
    read_body(message);
    const auto made = make_message(message.header.request_id, message.header.response_to, message.flags, message.body, message.sequences);
    Message again;
    require(parse_message(made, again) == FrameError::none);
    require(again.body == message.body && again.sequences.size() == message.sequences.size());
  }
  Message query;
  if (parse_query(bytes, query) == FrameError::none) read_body(query);
  Message plain;  // the fuzzer gets at bodies without finding a header first
  plain.body = bytes;
  read_body(plain);
  return 0;
}
