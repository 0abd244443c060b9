// Clients for benchmarks: each of them sends a command, reads the whole reply and sends the next one. One thread serves them all.
//
// usage: bench-mongo-load PORT CLIENTS SECONDS WORKLOAD SIZE
// WORKLOAD is `ping`, `mix` (a find and an insert in turn), `find` or `insert`, of documents of SIZE bytes. After a second of warm-up it
// prints `begin`, and after SECONDS more `end OPERATIONS SECONDS P50 P99`, the last two in microseconds.
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>

#include "bench/mongo_socket.hpp"
#include "protocol/mongo/document.hpp"

namespace {

using namespace holdfast;
using namespace holdfast::bench;
using Clock = std::chrono::steady_clock;

std::string ping() {
  mongo::Writer writer;
  return mongo::make_message(1, 0, 0, writer.int32("ping", 1).text("$db", "admin").finish());
}

std::string session() {
  mongo::Writer writer;
  return writer.binary("id", std::string(16, '\7'), 4).finish();
}

std::string find(std::int32_t size) {
  mongo::Writer filter, writer;
  writer.text("find", "documents").document("filter", filter.int32("size", size).finish()).int32("limit", 1);
  writer.boolean("singleBatch", true).document("lsid", session()).text("$db", "bench");
  return mongo::make_message(1, 0, 0, writer.finish());
}

std::string insert(std::int32_t size) {
  mongo::Writer document, writer;
  const auto documents = document.binary("data", std::string(static_cast<std::size_t>(size), 'x')).finish();
  writer.text("insert", "documents").boolean("ordered", true).document("lsid", session()).int64("txnNumber", 1).text("$db", "bench");
  return mongo::make_message(1, 0, 0, writer.finish(), {{"documents", documents}});
}

struct Client {
  int descriptor = -1;
  std::int32_t number = 0;
  std::size_t next = 0;  // of the commands
  Clock::time_point sent;
  MessageReader reader;
};

class Load {
 public:
  Load(std::uint16_t port, std::size_t clients, std::vector<std::string> commands)
      : commands_(std::move(commands)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    require(epoll_ >= 0, "epoll_create1");
    const auto address = loopback(port);
    for (std::size_t i = 0; i < clients; ++i) {
      auto& client = *clients_.emplace_back(std::make_unique<Client>());
      client.descriptor = make_socket();
      require(::connect(client.descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "connect");
      send_at_once(client.descriptor);
      client.next = i % commands_.size();
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.ptr = &client;
      require(::epoll_ctl(epoll_, EPOLL_CTL_ADD, client.descriptor, &event) == 0, "epoll_ctl");
      send(client);
    }
  }

  /// The latencies of what was answered until `end`, in microseconds.
  std::vector<float> run_until(Clock::time_point end) {
    std::vector<float> latencies;
    latencies.reserve(1'000'000);
    std::array<epoll_event, 64> events{};
    for (auto now = Clock::now(); now < end; now = Clock::now()) {
      const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 1000);
      for (int i = 0; i < count; ++i) {
        auto& client = *static_cast<Client*>(events[static_cast<std::size_t>(i)].data.ptr);
        receive(client);
        latencies.push_back(std::chrono::duration<float, std::micro>(Clock::now() - client.sent).count());
        send(client);
      }
    }
    return latencies;
  }

 private:
  void send(Client& client) {
    auto& bytes = commands_[client.next];
    client.next = (client.next + 1) % commands_.size();
    ++client.number;
    std::memcpy(bytes.data() + 4, &client.number, sizeof client.number);  // requestID
    client.sent = Clock::now();
    if (!send_all(client.descriptor, bytes)) throw std::runtime_error("the connection was closed");
  }

  static void receive(Client& client) {
    const auto frame = client.reader.read(client.descriptor);
    mongo::Message reply;
    if (frame.empty() || mongo::parse_message(frame, reply) != mongo::FrameError::none) throw std::runtime_error("no reply");
    if (reply.header.response_to != client.number) throw std::runtime_error("a reply to another request");
    // `ok` comes last, and is not looked for in megabytes of a document.
    if (reply.body.size() < 14 || std::memcmp(reply.body.data() + reply.body.size() - 13, "\1ok\0\0\0\0\0\0\0\xf0\x3f", 12) != 0) {
      throw std::runtime_error("a command failed");
    }
  }

  std::vector<std::string> commands_;
  int epoll_;
  std::vector<std::unique_ptr<Client>> clients_;
};

std::vector<std::string> commands_of(std::string_view workload, std::int32_t size) {
  if (workload == "ping") return {ping()};
  if (workload == "mix") return {find(size), insert(size)};
  if (workload == "find") return {find(size)};
  if (workload == "insert") return {insert(size)};
  return {};
}

float percentile(std::vector<float>& values, double share) {
  const auto place = values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::ranges::nth_element(values, place);
  return *place;
}

void run(std::uint16_t port, std::size_t clients, double seconds, std::vector<std::string> commands) {
  Load load(port, clients, std::move(commands));
  load.run_until(Clock::now() + std::chrono::seconds(1));
  std::cout << "begin" << std::endl;
  const auto begin = Clock::now();
  auto latencies = load.run_until(begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
  const std::chrono::duration<double> took = Clock::now() - begin;
  if (latencies.empty()) throw std::runtime_error("nothing was answered");
  const auto median = percentile(latencies, 0.5), high = percentile(latencies, 0.99);
  std::cout << "end " << latencies.size() << ' ' << took.count() << ' ' << median << ' ' << high << std::endl;
}

}  // namespace

int main(int count, char** words) try {
  const auto commands = count == 6 ? commands_of(words[4], std::atoi(words[5])) : std::vector<std::string>();
  if (commands.empty()) {
    std::cerr << "usage: bench-mongo-load PORT CLIENTS SECONDS ping|mix|find|insert SIZE\n";
    return 2;
  }
  run(static_cast<std::uint16_t>(std::atoi(words[1])), static_cast<std::size_t>(std::atoi(words[2])), std::atof(words[3]), commands);
} catch (const std::exception& error) {
  std::cerr << "bench-mongo-load: " << error.what() << '\n';
  return 1;
}
