// Implements the life of the clients' threads.
#include "workload/client_threads.hpp"

#include <algorithm>
#include <utility>

namespace holdfast::workload {

ClientThreads::~ClientThreads() { end(); }

void ClientThreads::add(const std::string& name, Begin begin) {
  auto& client = *clients_.emplace_back(std::make_unique<Client>(name));
  ++running_;
  client.thread = std::thread([this, &client, begin = std::move(begin)] {
    const auto step = begin(client.record);
    while (!control_.stopping()) {
      if (control_.pausing()) {
        client.record.parked();
        control_.park();
        client.record.resumed();
      } else {
        step();
      }
    }
    --running_;
  });
}

void ClientThreads::end() {
  control_.stop();
  // A statement that is only just under way is no fault of anybody's.
  [[maybe_unused]] const bool all_ended = wait_until(milliseconds(2'000), [&] { return running_ == 0; });
  control_.abandon();
  for (const auto& client : clients_) {
    if (client->thread.joinable()) {
      client->thread.join();
    }
  }
}

bool ClientThreads::wait_until_ready(milliseconds limit) const {
  return wait_until(limit, [&] {
    return std::all_of(clients_.begin(), clients_.end(), [](const auto& client) { return client->record.snapshot().prepared; });
  });
}

bool ClientThreads::wait_until_served_since(Clock::time_point moment, milliseconds limit) const {
  return wait_until(limit, [&] {
    return std::all_of(clients_.begin(), clients_.end(), [&](const auto& client) {
      return client->record.snapshot().last_answer > moment;
    });
  });
}

bool ClientThreads::pause(milliseconds limit) {
  control_.pause();
  return control_.wait_until_parked(clients_.size(), limit);
}

void ClientThreads::resume() { control_.resume(); }

std::vector<ClientSnapshot> ClientThreads::snapshots() const {
  std::vector<ClientSnapshot> all;
  for (const auto& client : clients_) {
    all.push_back(client->record.snapshot());
  }
  return all;
}

}  // namespace holdfast::workload
