// A throw-away MongoDB replica set that can lose its primary: real mongods, or the model of one. Decides neither when nor how often.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "workload/wait.hpp"

namespace holdfast::workload {

/// Three members on 127.0.0.1, without logins. It dies with the thread that starts it. One thread uses it.
class MongoSet {
 public:
  virtual ~MongoSet() = default;
  /// Returns once there is a primary. Throws std::runtime_error with what the servers said.
  virtual void start() = 0;
  /// Names all members; writes are acknowledged by a majority.
  [[nodiscard]] virtual std::string uri() const = 0;
  /// What it is, for people.
  [[nodiscard]] virtual std::string description() const = 0;
  /// The primary's process is gone at once. False where there is no primary.
  [[nodiscard]] virtual bool kill_primary() = 0;
  /// The primary hands over, and lives. False where it does not.
  [[nodiscard]] virtual bool step_down() = 0;
  /// Starts every member that does not run.
  virtual void revive() = 0;
  [[nodiscard]] virtual bool has_primary() = 0;
  /// A command with which a person kills the primary or any member.
  [[nodiscard]] virtual std::string kill_by_hand() const = 0;
  /// Whether each member's process runs.
  [[nodiscard]] virtual bool complete() = 0;
};

/// Where to look for one.
struct MongoSearch {
  std::optional<std::string> mongod;  // the variable MONGOD: a user's wish goes first
  std::string path;                   // the variable PATH
  std::string model;                  // --model: a program that runs the model set; empty where there is none
};

/// The search as the environment of this process has it.
[[nodiscard]] MongoSearch mongo_search(std::string model);
/// The mongod to use; none where only the model is there. Throws std::runtime_error with a sentence that says what is needed.
[[nodiscard]] std::optional<std::filesystem::path> find_mongod(const MongoSearch& search);
/// A set whose files are below `directory`, which must exist; starts nothing yet.
[[nodiscard]] std::unique_ptr<MongoSet> make_mongo_set(const MongoSearch& search, const std::filesystem::path& directory);

// The two kinds, each in a file of its own.
[[nodiscard]] std::unique_ptr<MongoSet> mongod_set(const std::filesystem::path& mongod, const std::filesystem::path& directory);
[[nodiscard]] std::unique_ptr<MongoSet> model_set(const std::string& program, const std::filesystem::path& directory);

}  // namespace holdfast::workload
