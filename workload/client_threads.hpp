// The threads of a workload's clients, each with its record: started, paused, ended, looked at. Knows nothing of what they do.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "workload/control.hpp"
#include "workload/statistics.hpp"

namespace holdfast::workload {

class ClientThreads {
 public:
  /// What a client does again and again.
  using Step = std::function<void()>;
  /// Runs on the client's thread before its first step, and gives that.
  using Begin = std::function<Step(ClientRecord&)>;

  ClientThreads() = default;
  ~ClientThreads();
  ClientThreads(const ClientThreads&) = delete;
  ClientThreads& operator=(const ClientThreads&) = delete;

  void add(const std::string& name, Begin begin);
  [[nodiscard]] Control& control() { return control_; }

  /// Whether each client has finished its preparation within `limit`.
  [[nodiscard]] bool wait_until_ready(milliseconds limit) const;
  /// Whether each client has had an answer since `moment` within `limit`.
  [[nodiscard]] bool wait_until_served_since(Clock::time_point moment, milliseconds limit) const;
  /// Lets every write come to a known outcome, then holds the clients; false when some do not get there within `limit`.
  [[nodiscard]] bool pause(milliseconds limit);
  void resume();
  /// Ends the clients. Whatever is still under way after 2 s is given up and counted as unanswered.
  void end();
  [[nodiscard]] std::vector<ClientSnapshot> snapshots() const;

 private:
  struct Client {
    explicit Client(std::string name) : record(std::move(name)) {}
    ClientRecord record;
    std::thread thread;
  };

  Control control_;
  std::atomic<std::size_t> running_ = 0;  // threads
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace holdfast::workload
