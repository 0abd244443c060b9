// Drives a PostgresStanding from a home worker of the test's own, and plays a server that follows a script.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <dirent.h>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "health/postgres_standing.hpp"

namespace holdfast::health {

using namespace std::chrono_literals;

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

/// The home worker is the test's thread: it runs while the test waits for something.
class Harness {
 public:
  explicit Harness(config::PostgresUri uri)
      : standing(std::make_unique<PostgresStanding>(thread, home.get_executor(), std::move(uri))) {
    standing->on_lost = [this](std::string reason) { lost.push_back(std::move(reason)); };
  }
  ~Harness() {
    standing.reset();
    run_to_the_end();
  }

  /// Begins `task` and returns where its outcome will stand.
  std::shared_ptr<std::optional<proxy::Outcome>> begin(Task<proxy::Outcome> task) {
    auto outcome = std::make_shared<std::optional<proxy::Outcome>>();
    asio::co_spawn(home, std::move(task), [outcome](std::exception_ptr thrown, proxy::Outcome result) {
      ASSERT_FALSE(thrown);
      *outcome = std::move(result);
    });
    return outcome;
  }
  proxy::Outcome await(Task<proxy::Outcome> task) {
    const auto outcome = begin(std::move(task));
    if (!run_until([&] { return outcome->has_value(); })) ADD_FAILURE() << "no outcome within 30 s";
    return outcome->value_or(proxy::Outcome{});
  }
  template <class Condition>
  [[nodiscard]] bool run_until(Condition condition) {
    const auto limit = std::chrono::steady_clock::now() + 30s;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > limit) return false;
      home.restart();
      home.run_one_for(20ms);
    }
    return true;
  }
  void run_to_the_end() {
    home.restart();
    home.run_for(30s);
    EXPECT_TRUE(home.stopped()) << "the home worker still has work 30 s after close()";
  }
  [[nodiscard]] static proxy::SteadyTime in(proxy::milliseconds delay) {
    return std::chrono::steady_clock::now() + delay;
  }

  HealthThread thread;
  asio::io_context home{1};
  std::unique_ptr<PostgresStanding> standing;
  std::vector<std::string> lost;
};

/// Answers every connection's first message with `answer` and then hangs up, or hangs on.
class ScriptedServer {
 public:
  enum class Then { hang_up, hang_on };
  ScriptedServer(std::string answer, Then then)
      : acceptor_(context_, {asio::ip::address_v4::loopback(), 0}), answer_(std::move(answer)), then_(then),
        thread_([this] { serve(); }) {}
  ~ScriptedServer() {
    stopping_ = true;
    ::shutdown(acceptor_.native_handle(), SHUT_RDWR);
    thread_.join();
  }
  [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  [[nodiscard]] config::HostPort endpoint() const { return {"127.0.0.1", port()}; }
  /// What the latest client sent, once it has left or been left.
  [[nodiscard]] std::string received() {
    const std::lock_guard lock(mutex_);
    return received_;
  }
  /// How many clients have sent something, or left without a word.
  [[nodiscard]] int heard() const { return heard_; }

 private:
  void serve() {
    std::vector<asio::ip::tcp::socket> kept;
    while (!stopping_) {
      boost::system::error_code error;
      asio::ip::tcp::socket client(context_);
      acceptor_.accept(client, error);
      if (error) return;
      std::array<char, 1024> buffer;
      const auto count = client.read_some(asio::buffer(buffer), error);
      {
        const std::lock_guard lock(mutex_);
        received_.assign(buffer.data(), count);
      }
      ++heard_;
      asio::write(client, asio::buffer(answer_), error);
      if (then_ == Then::hang_on) kept.push_back(std::move(client));
    }
  }

  asio::io_context context_;
  asio::ip::tcp::acceptor acceptor_;
  const std::string answer_;
  const Then then_;
  std::mutex mutex_;
  std::string received_;
  std::atomic<int> heard_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

inline std::string message(char type, const std::string& body) {
  const auto length = body.size() + 4;
  std::string out(1, type);
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(length >> shift & 0xff));
  return out + body;
}

inline std::string error_response(const std::string& code, const std::string& text) {
  using namespace std::string_literals;
  return message('E', "SFATAL\0VFATAL\0C"s + code + "\0M"s + text + "\0\0"s);
}

}  // namespace holdfast::health
