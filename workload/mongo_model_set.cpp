// The model replica set of the tests as a child: started, and driven by the lines of its control port.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <stdexcept>

#include "workload/child_process.hpp"
#include "workload/mongo_session.hpp"
#include "workload/mongo_set.hpp"
#include "workload/scratch.hpp"

namespace holdfast::workload {

namespace {

constexpr std::int64_t members = 3;
constexpr milliseconds start_limit{15'000};

using Json = OwnedBson;

Json parsed(const std::string& text) {
  bson_error_t error;
  return Json(bson_new_from_json(reinterpret_cast<const std::uint8_t*>(text.data()), static_cast<ssize_t>(text.size()), &error));
}

class ModelSet final : public MongoSet {
 public:
  ModelSet(std::string program, const std::filesystem::path& directory) : program_(std::move(program)), output_(directory / "model.log") {}
  ~ModelSet() override {
    if (control_ >= 0) close(control_);
  }

  void start() override {
    process_ = std::make_unique<ChildProcess>(ChildOptions{.arguments = {program_, "--members", std::to_string(members)},
                                                           .environment = environment_without({}),
                                                           .output_file = output_.string()});
    std::string line;
    const bool told = wait_until(start_limit, [&] {
      std::ifstream output(output_);
      return (std::getline(output, line) && !output.eof()) || !process_->running();
    });
    const auto ready = parsed(line);
    const auto port = number_of(ready.get(), "control");
    if (!told || port < 0) throw std::runtime_error("the model replica set does not start:\n" + tail_of(output_, 10));
    for (std::int64_t member = 0; member < members; ++member) {
      uri_ += (member == 0 ? "mongodb://" : ",") + text_of(ready.get(), ("members." + std::to_string(member)).c_str());
    }
    uri_ += "/?replicaSet=" + text_of(ready.get(), "set") + "&w=majority";
    control_port_ = port;
    connect_control(static_cast<std::uint16_t>(port));
    if (!wait_until(start_limit, [&] { return has_primary(); })) throw std::runtime_error("the model replica set elects no primary");
  }

  [[nodiscard]] std::string uri() const override { return uri_; }
  [[nodiscard]] std::string description() const override { return "a model replica set (no mongod was found), MongoDB 4.4's answers"; }
  [[nodiscard]] std::string kill_by_hand() const override {
    return "echo '{\"do\": \"kill\"}' | nc -q1 127.0.0.1 " + std::to_string(control_port_);
  }
  [[nodiscard]] bool kill_primary() override { return static_cast<bool>(ask(R"({"do": "kill"})")); }
  [[nodiscard]] bool step_down() override { return static_cast<bool>(ask(R"({"do": "step_down", "seconds": 1})")); }

  void revive() override {
    const auto state = must("{\"do\": \"state\"}");
    for (std::int64_t member = 0; member < members; ++member) {
      if (!running(*state.get(), member)) static_cast<void>(must("{\"do\": \"start\", \"member\": " + std::to_string(member) + "}"));
    }
  }

  [[nodiscard]] bool has_primary() override { return number_of(must("{\"do\": \"state\"}").get(), "primary") >= 0; }

  [[nodiscard]] bool complete() override {
    const auto state = must("{\"do\": \"state\"}");
    for (std::int64_t member = 0; member < members; ++member) {
      if (!running(*state.get(), member)) return false;
    }
    return true;
  }

 private:
  static bool running(const bson_t& state, std::int64_t member) {
    return text_of(&state, ("members." + std::to_string(member) + ".role").c_str()) != "down";
  }

  void connect_control(std::uint16_t port) {
    control_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    setsockopt(control_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(control_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("the model replica set's control port is closed:\n" + tail_of(output_, 10));
    }
  }

  /// The answer to an order; nothing where it was refused.
  Json ask(const std::string& order) {
    const std::string line = order + "\n";
    std::string answer;
    if (send(control_, line.data(), line.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(line.size())) {
      std::array<char, 4096> buffer{};
      for (ssize_t got = 0; !answer.ends_with('\n') && (got = recv(control_, buffer.data(), buffer.size(), 0)) > 0;) {
        answer.append(buffer.data(), static_cast<std::size_t>(got));
      }
    }
    if (!answer.ends_with('\n')) throw std::runtime_error("the model replica set has ended:\n" + tail_of(output_, 10));
    auto document = parsed(answer);
    bson_iter_t found;
    const bool ok = document && bson_iter_init_find(&found, document.get(), "ok") && bson_iter_as_bool(&found);
    return ok ? std::move(document) : Json();
  }

  Json must(const std::string& order) {
    auto answer = ask(order);
    if (!answer) throw std::runtime_error("the model replica set refuses " + order);
    return answer;
  }

  std::string program_;
  std::filesystem::path output_;
  std::unique_ptr<ChildProcess> process_;
  std::string uri_;
  std::int64_t control_port_ = 0;
  int control_ = -1;
};

}  // namespace

std::unique_ptr<MongoSet> model_set(const std::string& program, const std::filesystem::path& directory) {
  return std::make_unique<ModelSet>(program, directory);
}

}  // namespace holdfast::workload
