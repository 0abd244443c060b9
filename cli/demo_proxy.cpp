// Starts holdfast as a child and asks its admin port whether it is ready.
#include "cli/demo_proxy.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>
#include <string_view>

#include "workload/scratch.hpp"
#include "workload/wait.hpp"

namespace holdfast::cli {

namespace {

/// Whether `GET /readyz` on 127.0.0.1 is answered with 200 within a second.
bool is_ready(std::uint16_t port) {
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) {
    return false;
  }
  const timeval limit{.tv_sec = 1, .tv_usec = 0};
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string request =
      "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) + "\r\nConnection: close\r\n\r\n";
  std::string answer;
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      send(descriptor, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
    std::array<char, 256> buffer{};
    for (ssize_t got = 0; answer.size() < 12 && (got = recv(descriptor, buffer.data(), buffer.size(), 0)) > 0;) {
      answer.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }
  close(descriptor);
  return answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200");
}

}  // namespace

DemoProxy::DemoProxy(const std::string& program, const std::filesystem::path& directory, const DemoUpstream& upstream)
    : log_(directory / "holdfast.log"), port_(workload::free_port()), admin_port_(workload::free_port()) {
  const auto password_file = directory / "password";
  // The user's own settings are for the user's own databases.
  auto environment = workload::environment_without({"HOLDFAST_", "DB_", "PG"});
  if (!upstream.password.empty()) {
    workload::write_private_file(password_file, upstream.password + "\n");
    environment.push_back("HOLDFAST_PASSWORD_FILE=" + password_file.string());
  }
  const auto local = [](std::uint16_t port) { return "127.0.0.1:" + std::to_string(port); };
  process_ = std::make_unique<workload::ChildProcess>(workload::ChildOptions{
      .arguments = {program, "run", "--upstream", upstream.uri,
                    "--listen", local(port_), "--admin", local(admin_port_)},
      .environment = std::move(environment),
      .output_file = log_});
  const bool ready = workload::wait_until(std::chrono::seconds(20), [&] { return !process_->running() || is_ready(admin_port_); });
  require_running();
  if (!ready) {
    throw std::runtime_error("holdfast does not become ready:\n" + workload::tail_of(log_, 20));
  }
}

void DemoProxy::require_running() {
  if (!process_->running()) {
    throw std::runtime_error("holdfast has ended:\n" + workload::tail_of(log_, 20));
  }
}

}  // namespace holdfast::cli
