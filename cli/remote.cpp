// What each remote command asks and prints; the events have a file of their own.
#include "cli/remote.hpp"

#include <unistd.h>

#include <boost/json.hpp>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "cli/admin_client.hpp"
#include "cli/remote_text.hpp"

namespace holdfast::cli {
namespace {

namespace json = boost::json;
using Method = AdminClient::Method;

constexpr std::chrono::seconds watch_interval{1};

int failed(const std::exception& error) {
  std::cerr << "holdfast: " << printable(error.what()) << '\n';
  return 1;
}

struct Look {
  std::vector<std::string> lines;
  bool all_connected = true;
};

Look look_at(const AdminClient& client, const RemoteOptions& options, Colour colour) {
  const auto body = client.ask(Method::get, "/api/v1/connections");
  const auto states = json::parse(body);
  if (!states.is_array()) throw std::runtime_error("the admin port answered with something else than connections");
  Look look;
  for (const auto& state : states.get_array()) {
    look.all_connected = look.all_connected && state.as_object().at("isConnected").as_bool();
  }
  look.lines = options.json ? std::vector{body} : state_table(states.get_array(), colour);
  return look;
}

bool can_draw() {
  const char* kind = std::getenv("TERM");
  return ::isatty(STDOUT_FILENO) == 1 && kind != nullptr && std::string_view(kind) != "dumb";
}

/// Draws over what the block before left, line by line, so that nothing flickers.
void draw(const std::vector<std::string>& lines) {
  std::cout << "\x1b[H";
  for (const auto& line : lines) std::cout << line << "\x1b[K\n";
  std::cout << "\x1b[J" << std::flush;
}

[[noreturn]] void watch(const AdminClient& client, const RemoteOptions& options, Look look, Colour colour) {
  const bool in_place = can_draw() && !options.json;
  if (in_place) std::cout << "\x1b[2J";
  for (bool first = true;; first = false) {
    if (in_place) {
      draw(look.lines);
    } else {
      if (!first && !options.json) std::cout << '\n';
      for (const auto& line : look.lines) std::cout << line << '\n';
      std::cout << std::flush;
    }
    std::this_thread::sleep_for(watch_interval);
    try {
      look = look_at(client, options, colour);
    } catch (const std::exception& error) {
      // A proxy that is being restarted comes back; until then the reason stands where the table did.
      look.lines.clear();
      const auto sentence = "holdfast: " + printable(error.what());
      if (in_place) look.lines.push_back(sentence);
      else std::cerr << sentence << '\n';
    }
  }
}

}  // namespace

int show_status(const RemoteOptions& options) try {
  const auto colour = stdout_colour();
  const AdminClient client(options.admin, options.token_file, {options.ca_file, options.cert_file, options.key_file});
  auto look = look_at(client, options, colour);
  if (options.watch) watch(client, options, std::move(look), colour);
  for (const auto& line : look.lines) std::cout << line << '\n';
  return look.all_connected ? 0 : 1;
} catch (const std::exception& error) {
  return failed(error);
}

int give_order(const RemoteOptions& options, RemoteOrder order) try {
  struct Words {
    const char *path, *done;
  };
  const auto words = [order]() -> Words {
    switch (order) {
      case RemoteOrder::pause: return {"pause", "paused"};
      case RemoteOrder::resume: return {"resume", "resumed"};
      case RemoteOrder::reconnect: break;
    }
    return {"reconnect", "reconnecting"};
  }();
  const AdminClient client(options.admin, options.token_file, {options.ca_file, options.cert_file, options.key_file});
  static_cast<void>(client.ask(Method::post, "/api/v1/connections/" + percent_encoded(options.id) + "/" + words.path));
  std::cout << words.done << ' ' << printable(options.id) << '\n';
  return 0;
} catch (const std::exception& error) {
  return failed(error);
}

int check_health(const RemoteOptions& options) try {
  // Without the token, which /healthz does not want: the file may be another user's.
  static_cast<void>(AdminClient(options.admin, {}).ask(Method::get, "/healthz"));
  return 0;
} catch (const std::exception& error) {
  return failed(error);
}

int show_config(const RemoteOptions& options) try {
  const AdminClient client(options.admin, options.token_file, {options.ca_file, options.cert_file, options.key_file});
  std::cout << indented(json::parse(client.ask(Method::get, "/api/v1/config"))) << '\n';
  return 0;
} catch (const std::exception& error) {
  return failed(error);
}

}  // namespace holdfast::cli
