// The stream of events over loopback: resuming, gaps, heartbeats, many listeners, slow ones, and the end.
#include <boost/json.hpp>

#include <array>
#include <future>
#include <memory>
#include <thread>

#include "tests/unit/admin/server_fixture.hpp"

namespace holdfast::admin {
namespace {

using namespace std::chrono_literals;

/// One block of the stream, taken apart; the name of a comment is empty.
struct Block {
  std::string id, name, comment;
  boost::json::object data;
  [[nodiscard]] std::uint64_t number() const { return std::stoull(id); }
};

/// Reads the stream line by line; what does not come within the limit of the socket fails the test.
class Listener {
 public:
  Listener(const config::ListenAddress& address, const std::string& request, int receive_buffer = 0)
      : socket_(context_) {
    socket_.open(asio::ip::tcp::v4());
    if (receive_buffer > 0) socket_.set_option(asio::socket_base::receive_buffer_size(receive_buffer));
    socket_.connect({asio::ip::make_address(address.host), address.port});
    const timeval limit{20, 0};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    asio::write(socket_, asio::buffer(request));
  }
  /// Reads the header of the answer and the comment that begins the stream: from then on it listens.
  Response begin() {
    http::response_parser<http::string_body> parser;
    parser.eager(false);
    boost::system::error_code error;
    http::read_header(socket_, buffer_, parser, error);
    EXPECT_FALSE(error) << error.message();
    EXPECT_FALSE(next().comment.empty());
    return parser.get();
  }
  Block next() {
    Block block;
    for (std::string line = read_line(); !line.empty(); line = read_line()) {
      if (line.starts_with(":")) block.comment = line;
      if (line.starts_with("id: ")) block.id = line.substr(4);
      if (line.starts_with("event: ")) block.name = line.substr(7);
      if (line.starts_with("data: ")) block.data = boost::json::parse(line.substr(6)).as_object();
    }
    return block;
  }
  /// Reads what is left; whether there is an end.
  [[nodiscard]] bool reads_to_the_end() {
    std::array<char, 65536> bytes;
    for (;;) {
      const auto count = ::recv(socket_.native_handle(), bytes.data(), bytes.size(), 0);
      if (count <= 0) return count == 0 || errno != EAGAIN;
    }
  }
  void close() { socket_.close(); }

 private:
  std::string read_line() {
    for (;;) {
      const std::string_view all(static_cast<const char*>(buffer_.data().data()), buffer_.size());
      if (const auto end = all.find('\n'); end != std::string_view::npos) {
        std::string line(all.substr(0, end));
        buffer_.consume(end + 1);
        return line;
      }
      boost::system::error_code error;
      buffer_.commit(socket_.read_some(buffer_.prepare(4096), error));
      if (error) {
        ADD_FAILURE() << "the stream ended: " << error.message();
        return {};
      }
    }
  }

  asio::io_context context_;
  asio::ip::tcp::socket socket_;
  beast::flat_buffer buffer_;
};

class AdminEvents : public AdminServer {
 protected:
  AdminEvents() : AdminServer(local(), limits()) {}
  static Limits limits() {
    // A stream outlives them by far, a heartbeat comes after each of them.
    Limits limits;
    limits.request_timeout = 150ms;
    limits.idle_timeout = 150ms;
    limits.heartbeat_interval = 400ms;
    return limits;
  }
  std::unique_ptr<Listener> listen(const std::string& query = {}, const std::string& headers = {},
                                   int receive_buffer = 0) {
    return std::make_unique<Listener>(server_->address(), request("GET", "/api/v1/events" + query, headers),
                                      receive_buffer);
  }
  void happens(proxy::EventKind kind, std::string reason = {}) {
    proxy::Event event;
    event.kind = kind;
    event.connection = "orders";
    event.reason = std::move(reason);
    source_.events().append(event);
  }
};

TEST_F(AdminEvents, come_as_they_happen) {
  const auto listener = listen();
  const auto header = listener->begin();
  EXPECT_EQ(header.result_int(), 200U);
  EXPECT_EQ(header[http::field::content_type], "text/event-stream");
  EXPECT_EQ(header[http::field::cache_control], "no-store");
  EXPECT_EQ(header.count(http::field::content_length), 0U);
  happens(proxy::EventKind::connection_lost, "connection refused");
  const auto lost = listener->next();
  EXPECT_EQ(lost.name, "database-connection-lost");
  EXPECT_EQ(lost.id, "1");
  EXPECT_EQ(lost.data.at("connectionId"), "orders");
  EXPECT_EQ(lost.data.at("reason"), "connection refused");
  EXPECT_EQ(lost.data.at("id"), 1);
  happens(proxy::EventKind::reconnected);
  EXPECT_EQ(listener->next().name, "database-reconnected");
}

TEST_F(AdminEvents, resume_after_a_number) {
  for (int i = 0; i < 5; ++i) happens(proxy::EventKind::connected);
  const auto all = listen("?since=0");
  all->begin();
  EXPECT_EQ(all->next().id, "1");
  const auto some = listen("?since=3");
  some->begin();
  EXPECT_EQ(some->next().id, "4");
  const auto resumed = listen("?since=0", "Last-Event-ID: 4\r\n");
  resumed->begin();
  EXPECT_EQ(resumed->next().id, "5");
  const auto fresh = listen();
  fresh->begin();
  happens(proxy::EventKind::connected);
  EXPECT_EQ(fresh->next().id, "6");
}

TEST_F(AdminEvents, a_number_that_is_none_is_refused) {
  for (const auto* query : {"?since=", "?since=x", "?since=-1", "?since=1.5", "?since=99999999999999999999"}) {
    EXPECT_EQ(get(std::string("/api/v1/events") + query).result_int(), 400U) << query;
  }
  EXPECT_EQ(ask(request("GET", "/api/v1/events", "Last-Event-ID: x\r\n")).result_int(), 400U);
  EXPECT_EQ(post("/api/v1/events").result_int(), 405U);
}

TEST_F(AdminEvents, what_is_no_longer_there_is_a_gap) {
  for (int i = 0; i < 1100; ++i) happens(proxy::EventKind::connected);
  const auto listener = listen("?since=10");
  listener->begin();
  const auto gap = listener->next();
  EXPECT_EQ(gap.name, "gap");
  EXPECT_EQ(gap.id, "76");
  EXPECT_EQ(gap.data.at("missed"), 66);
  EXPECT_EQ(listener->next().id, "77");
}

TEST_F(AdminEvents, head_has_the_header_alone) {
  Client client(server_->address());
  client.send(request("HEAD", "/api/v1/events"));
  const auto response = client.receive(Client::Body::skip);
  EXPECT_EQ(response.result_int(), 200U);
  EXPECT_EQ(response[http::field::content_type], "text/event-stream");
  EXPECT_TRUE(client.closed());
}

TEST_F(AdminEvents, the_limits_of_ordinary_requests_do_not_end_a_quiet_stream) {
  const auto listener = listen();
  listener->begin();
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(listener->next().comment.empty());
  happens(proxy::EventKind::connected);
  EXPECT_EQ(listener->next().name, "database-connected");
}

TEST_F(AdminEvents, two_hundred_listeners_hear_the_same) {
  std::vector<std::unique_ptr<Listener>> listeners;
  for (int i = 0; i < 200; ++i) listeners.push_back(listen());
  for (auto& listener : listeners) listener->begin();
  happens(proxy::EventKind::connection_lost);
  happens(proxy::EventKind::reconnected);
  for (auto& listener : listeners) {
    auto block = listener->next();
    while (block.name.empty()) block = listener->next();
    EXPECT_EQ(block.id, "1");
    while ((block = listener->next()).name.empty()) {
    }
    EXPECT_EQ(block.id, "2");
  }
  EXPECT_EQ(get("/healthz").result_int(), 200U);
}

TEST_F(AdminEvents, who_reads_nothing_misses_some_and_keeps_nobody_waiting) {
  constexpr std::uint64_t count = 20'000;
  const auto slow = listen("", "", 4096);
  slow->begin();
  const std::string reason(1000, 'x');
  const auto begun = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < count; ++i) happens(proxy::EventKind::connection_lost, reason);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s);
  EXPECT_EQ(get("/healthz").result_int(), 200U);
  std::uint64_t last = 0, seen = 0, missed = 0;
  while (last < count) {
    const auto block = slow->next();
    if (block.name.empty()) {
      ASSERT_FALSE(block.comment.empty());
      continue;
    }
    if (block.name == "gap") {
      missed += boost::json::value_to<std::uint64_t>(block.data.at("missed"));
      ASSERT_EQ(block.number(), last + boost::json::value_to<std::uint64_t>(block.data.at("missed")));
    } else {
      ++seen;
      ASSERT_EQ(block.number(), last + 1);
    }
    last = block.number();
  }
  EXPECT_EQ(seen + missed, count);
  EXPECT_GT(missed, count / 2);
  happens(proxy::EventKind::reconnected);
  EXPECT_EQ(slow->next().number(), count + 1);
}

TEST_F(AdminEvents, the_place_of_a_listener_that_went_is_free_at_once) {
  const auto stays = listen();
  stays->begin();
  // Many more than the server takes: were the gone ones still counted, the one that stays would be ended for them.
  for (int i = 0; i < 400; ++i) {
    const auto goes = listen();
    goes->begin();
    goes->close();
  }
  happens(proxy::EventKind::connected);
  auto block = stays->next();
  while (block.name.empty() && !block.comment.empty()) block = stays->next();
  EXPECT_EQ(block.name, "database-connected");
}

TEST_F(AdminEvents, end_with_the_server) {
  const auto idle = listen();
  const auto slow = listen("", "", 4096);
  idle->begin();
  slow->begin();
  auto ended = std::async(std::launch::async, [this] { server_.reset(); });
  EXPECT_EQ(ended.wait_for(10s), std::future_status::ready);
  EXPECT_TRUE(idle->reads_to_the_end());
  EXPECT_TRUE(slow->reads_to_the_end());
  happens(proxy::EventKind::connected);
}

class StalledAdminEvents : public AdminServer {
 protected:
  StalledAdminEvents() : AdminServer(local(), limits()) {}
  static Limits limits() {
    Limits limits;
    limits.listener_stall_timeout = 200ms;
    limits.heartbeat_interval = 1ms;
    return limits;
  }
};

TEST_F(StalledAdminEvents, who_takes_nothing_for_long_is_ended) {
  Listener stalled(server_->address(), request("GET", "/api/v1/events"), 4096);
  stalled.begin();
  proxy::Event event;
  event.kind = proxy::EventKind::connection_lost;
  event.reason = std::string(1000, 'x');
  for (int i = 0; i < 1000; ++i) source_.events().append(event);
  // A second listener sees the time pass; it lives on because it reads.
  Listener reading(server_->address(), request("GET", "/api/v1/events"));
  reading.begin();
  for (int i = 0; i < 600; ++i) EXPECT_FALSE(reading.next().comment.empty());
  EXPECT_TRUE(stalled.reads_to_the_end());
}

}  // namespace
}  // namespace holdfast::admin
