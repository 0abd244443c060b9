// A server for benchmarks: answers hello as the only member of the replica set `bench`, and ping, insert and find without a database
// behind them. As in a real one, each connection has a thread.
//
// usage: bench-mongo-responder PORT
#include <cstdlib>
#include <iostream>
#include <thread>
#include <utility>

#include "bench/mongo_socket.hpp"
#include "protocol/mongo/document.hpp"

namespace {

using namespace holdfast;
using namespace holdfast::bench;

constexpr int connections_max = 4096;
constexpr mongo::ObjectId election{'\x7f', '\xff', '\xff', '\xff', 0, 0, 0, 0, 0, 0, 0, 1};

std::string hello_body(std::uint16_t port) {
  const auto me = "127.0.0.1:" + std::to_string(port);
  mongo::Writer writer;
  writer.boolean("helloOk", true).boolean("ismaster", true).boolean("isWritablePrimary", true).boolean("secondary", false);
  writer.text("setName", "bench").int32("setVersion", 1).texts("hosts", {me}).text("me", me).text("primary", me);
  writer.object_id("electionId", election).int32("maxBsonObjectSize", 16 * 1024 * 1024).int32("maxMessageSizeBytes", 48'000'000);
  writer.int32("maxWriteBatchSize", 100'000).int32("logicalSessionTimeoutMinutes", 30);
  return writer.int32("minWireVersion", 0).int32("maxWireVersion", 21).boolean("readOnly", false).real("ok", 1).finish();
}

std::string found_body(std::size_t size) {
  mongo::Writer documents, document, cursor, writer;
  documents.document("0", document.binary("data", std::string(size, 'x')).finish());
  cursor.array("firstBatch", documents.finish()).int64("id", 0).text("ns", "bench.documents");
  return writer.document("cursor", cursor.finish()).real("ok", 1).finish();
}

/// The answer to a find with the filter {size: N}: a document of so many bytes, made once for each thread.
const std::string& found_body_of(std::string_view request) {
  thread_local std::size_t made_for = 0;
  thread_local std::string body = found_body(made_for);
  const auto filter = mongo::find(request, "filter");
  const auto field = filter ? mongo::find(filter->bytes, "size") : std::nullopt;
  const auto size = static_cast<std::size_t>(field ? field->integer : 0);
  if (std::exchange(made_for, size) != size) body = found_body(size);
  return body;
}

std::string answer_body(std::string_view body, std::uint16_t port) {
  std::string_view name;
  static_cast<void>(mongo::for_each(body, [&](const mongo::Element& first) {
    name = first.key;
    return false;
  }));
  if (name == "hello" || name == "isMaster" || name == "ismaster") return hello_body(port);
  if (name == "find") return found_body_of(body);
  mongo::Writer writer;
  if (name == "insert") writer.int32("n", 1).object_id("electionId", election);
  return writer.real("ok", 1).finish();
}

void serve(int descriptor, std::uint16_t port) {
  MessageReader reader;
  std::int32_t number = 0;
  for (;;) {
    const auto frame = reader.read(descriptor);
    if (frame.empty()) break;
    mongo::Message request;
    const bool is_message = mongo::parse_message(frame, request) == mongo::FrameError::none;
    if (!is_message && mongo::parse_query(frame, request) != mongo::FrameError::none) break;
    if (!send_all(descriptor, mongo::make_answer(++number, request, answer_body(request.body, port)))) break;
  }
  ::close(descriptor);
}

void listen_on(std::uint16_t port) {
  const int listener = make_socket();
  const int on = 1;
  require(::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0, "SO_REUSEADDR");
  const auto address = loopback(port);
  require(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "bind");
  require(::listen(listener, connections_max) == 0, "listen");
  for (;;) {
    const int descriptor = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    require(descriptor >= 0, "accept");
    send_at_once(descriptor);
    std::thread(serve, descriptor, port).detach();
  }
}

}  // namespace

int main(int count, char** words) try {
  const int port = count == 2 ? std::atoi(words[1]) : 0;
  if (port <= 0 || port > 65535) {
    std::cerr << "usage: bench-mongo-responder PORT\n";
    return 2;
  }
  listen_on(static_cast<std::uint16_t>(port));
} catch (const std::exception& error) {
  std::cerr << "bench-mongo-responder: " << error.what() << '\n';
  return 1;
}
