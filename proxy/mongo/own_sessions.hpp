// Server sessions of the proxy's own, in which writes go upstream that come without a txnNumber. Standard library only; one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace holdfast::proxy::mongo {

struct OwnSession {
  std::string id;             // the 16 bytes of its UUID
  std::int64_t number = 0;    // of the write under way
  std::chrono::steady_clock::time_point used;
};

/// A session has one write at a time: a server would let a higher number end what it knows of the lower one.
class OwnSessions {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// `new_id` gives the 16 bytes of a UUID that nobody has had. A session that nobody used for `age_max` is forgotten.
  OwnSessions(std::function<std::string()> new_id, std::chrono::milliseconds age_max) : new_id_(std::move(new_id)), age_max_(age_max) {}

  /// For one write of this user, with a number that the session has not had.
  [[nodiscard]] OwnSession take(const std::string& user) {
    auto& free = free_[user];
    if (free.empty()) return {new_id_(), 1, {}};
    auto session = std::move(free.back());
    free.pop_back();
    ++session.number;
    return session;
  }
  /// The outcome of its write is known. Where it is not, the session is never used again.
  void give_back(const std::string& user, OwnSession session, Time now) {
    session.used = now;
    free_[user].push_back(std::move(session));
  }
  void expire(Time now) {
    for (auto& [user, free] : free_) std::erase_if(free, [&](const auto& each) { return each.used + age_max_ < now; });
    std::erase_if(free_, [](const auto& each) { return each.second.empty(); });
  }

 private:
  std::function<std::string()> new_id_;
  std::chrono::milliseconds age_max_;
  std::unordered_map<std::string, std::vector<OwnSession>> free_;  // by user; the last one was used last
};

}  // namespace holdfast::proxy::mongo
