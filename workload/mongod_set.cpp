// Three mongods as children, made into a replica set.
#include <csignal>
#include <stdexcept>
#include <vector>

#include "workload/child_process.hpp"
#include "workload/mongo_session.hpp"
#include "workload/mongo_set.hpp"
#include "workload/scratch.hpp"

namespace holdfast::workload {

namespace {

constexpr std::size_t member_count = 3;
constexpr milliseconds start_limit{60'000};

class MongodSet final : public MongoSet {
 public:
  MongodSet(std::filesystem::path mongod, std::filesystem::path directory) : mongod_(std::move(mongod)), directory_(std::move(directory)) {
    for (std::size_t member = 0; member < member_count; ++member) {
      ports_.push_back(free_port());
      std::filesystem::create_directory(data(member));
    }
    processes_.resize(member_count);
  }

  void start() override {
    revive();
    if (!wait_until(start_limit, [&] { return require_running() && answers(0) && answers(1) && answers(2); })) {
      throw std::runtime_error(mongod_.string() + " does not answer:\n" + tail_of(log(0), 10));
    }
    initiate();
    if (!wait_until(start_limit, [&] { return has_primary(); })) {
      throw std::runtime_error("the replica set elects no primary:\n" + tail_of(log(0), 10));
    }
    Document command;
    command.add("buildInfo", std::int64_t{1});
    bson_error_t error{};
    bson_t reply;
    if (run(0, command, &reply, &error)) version_ = text_of(&reply, "version");
    bson_destroy(&reply);
  }

  [[nodiscard]] std::string uri() const override {
    std::string text = "mongodb://";
    for (std::size_t member = 0; member < member_count; ++member) text += (member == 0 ? "" : ",") + address(member);
    return text + "/?replicaSet=rs0&w=majority";
  }
  [[nodiscard]] std::string description() const override { return "MongoDB " + version_ + " (" + mongod_.string() + "), three members"; }

  [[nodiscard]] std::string kill_by_hand() const override {
    return "kill -9 $(head -1 " + (data(0) / "mongod.lock").string() + ")";
  }

  [[nodiscard]] bool kill_primary() override {
    const auto primary = find_primary();
    if (!primary) return false;
    processes_[*primary]->signal(SIGKILL);
    return processes_[*primary]->wait(milliseconds(10'000));
  }

  [[nodiscard]] bool step_down() override {
    const auto primary = find_primary();
    Document command;
    command.add("replSetStepDown", std::int64_t{5}).add("secondaryCatchUpPeriodSecs", std::int64_t{2});
    bson_error_t error{};
    return primary && run(*primary, command, nullptr, &error);
  }

  void revive() override {
    for (std::size_t member = 0; member < member_count; ++member) {
      if (processes_[member] && processes_[member]->running()) continue;
      processes_[member] = std::make_unique<ChildProcess>(ChildOptions{
          .arguments = {mongod_.string(), "--dbpath", data(member).string(), "--port", std::to_string(ports_[member]), "--bind_ip", "127.0.0.1",
                        "--replSet", "rs0", "--nounixsocket"},
          .environment = environment_without({}),
          .output_file = log(member).string()});
    }
  }

  [[nodiscard]] bool has_primary() override { return find_primary().has_value(); }

  [[nodiscard]] bool complete() override {
    for (const auto& process : processes_) {
      if (!process->running()) return false;
    }
    return true;
  }

 private:
  [[nodiscard]] std::filesystem::path data(std::size_t member) const { return directory_ / ("mongod" + std::to_string(member)); }
  [[nodiscard]] std::filesystem::path log(std::size_t member) const { return directory_ / ("mongod" + std::to_string(member) + ".log"); }
  [[nodiscard]] std::string address(std::size_t member) const { return "127.0.0.1:" + std::to_string(ports_[member]); }

  bool require_running() {
    if (!complete()) throw std::runtime_error(mongod_.string() + " has ended:\n" + tail_of(log(0), 10));
    return true;
  }

  /// One command straight at one member. `reply` is always initialised where it is given.
  bool run(std::size_t member, const Document& command, bson_t* reply, bson_error_t* error) {
    const auto client = plain_client("mongodb://" + address(member) +
                                     "/?directConnection=true&serverSelectionTimeoutMS=500&connectTimeoutMS=500&socketTimeoutMS=10000");
    return mongoc_client_command_simple(client.get(), "admin", command.get(), nullptr, reply, error);
  }

  bool answers(std::size_t member) {
    Document command;
    command.add("ping", std::int64_t{1});
    bson_error_t error{};
    return run(member, command, nullptr, &error);
  }

  void initiate() {
    Document config, settings, first, second, third, command;
    std::size_t number = 0;
    for (auto* member : {&first, &second, &third}) {
      member->add("_id", static_cast<std::int64_t>(number)).add("host", address(number));
      ++number;
    }
    settings.add("electionTimeoutMillis", std::int64_t{2'000});
    config.add("_id", std::string_view("rs0")).add_array("members", {&first, &second, &third}).add("settings", settings);
    command.add("replSetInitiate", config);
    bson_error_t error{};
    if (!run(0, command, nullptr, &error)) throw std::runtime_error(std::string("replSetInitiate: ") + error.message);
  }

  std::optional<std::size_t> find_primary() {
    for (std::size_t member = 0; member < member_count; ++member) {
      if (!processes_[member]->running()) continue;
      Document command;
      command.add("isMaster", std::int64_t{1});
      bson_error_t error{};
      bson_t reply;
      bson_iter_t found;
      const bool is_primary = run(member, command, &reply, &error) && bson_iter_init_find(&found, &reply, "ismaster") && bson_iter_as_bool(&found);
      bson_destroy(&reply);
      if (is_primary) return member;
    }
    return std::nullopt;
  }

  std::filesystem::path mongod_, directory_;
  std::vector<std::uint16_t> ports_;
  std::vector<std::unique_ptr<ChildProcess>> processes_;
  std::string version_ = "of an unknown version";
};

}  // namespace

std::unique_ptr<MongoSet> mongod_set(const std::filesystem::path& mongod, const std::filesystem::path& directory) {
  return std::make_unique<MongodSet>(mongod, directory);
}

}  // namespace holdfast::workload
