// The flags of the remote commands; what they do stands in remote.cpp and remote_events.cpp.
#include "cli/remote_flags.hpp"

#include <CLI/CLI.hpp>
#include <cstdlib>

namespace holdfast::cli {
namespace {

constexpr const char* default_admin = "http://127.0.0.1:9930";
constexpr const char* token_variable = "HOLDFAST_ADMIN_TOKEN_FILE";

/// The flag, else the variable, else the default. CLI11's own variables would be read for every command that shares the
/// option, and the last of them would win over the flag.
void complete(std::string& option, const char* variable, const char* otherwise) {
  const char* value = std::getenv(variable);
  if (option.empty()) option = value != nullptr && *value != '\0' ? value : otherwise;
}

}  // namespace

RemoteCommands::RemoteCommands(CLI::App& app)
    : status_(app.add_subcommand("status", "Shows the connections of a running proxy")),
      reconnect_(app.add_subcommand("reconnect", "Makes a running proxy reconnect now")),
      pause_(app.add_subcommand("pause", "Holds the next statement of every client, for maintenance")),
      resume_(app.add_subcommand("resume", "Ends a pause")),
      events_(app.add_subcommand("events", "Shows what happened to the connections")),
      config_(app.add_subcommand("config", "Shows the settings in force")),
      health_(app.add_subcommand("health", "Ends with 0 where the proxy serves")) {
  for (auto* command : {status_, reconnect_, pause_, resume_, events_, config_, health_}) {
    command->add_option("--admin", options_.admin, "The admin port: http://HOST:PORT, https://HOST:PORT or unix:PATH")
        ->type_name("ADDRESS")
        ->default_str(std::string(admin_variable) + ", else " + default_admin);
    command->add_option("--token-file", options_.token_file, "File with the token of the admin port")
        ->type_name("FILE")
        ->default_str(token_variable);
    command->add_option("--ca-file", options_.ca_file, "For https: the authority that signed the port's certificate")->type_name("FILE");
    command->add_option("--cert-file", options_.cert_file, "For https: a certificate of one's own")->type_name("FILE");
    command->add_option("--key-file", options_.key_file, "For https: its key")->type_name("FILE");
  }
  for (auto* command : {reconnect_, pause_, resume_}) {
    command->add_option("id", options_.id, "Connection")->required()->type_name("");
  }
  status_->add_flag("--json", options_.json, "Print the API's answer as it is");
  status_->add_flag("--watch", options_.watch, "Again every second");
  events_->add_flag("--follow", options_.follow, "Go on with what happens from now on");
  events_->add_option("--since", options_.since, "Only what came after the event with this number")
      ->type_name("NUMBER")
      ->check([](const std::string& text) { return text.starts_with('-') ? "expected a number from 0 on" : std::string(); });
  events_->add_flag("--json", options_.json, "Print the data of each event as it is");
}

std::optional<int> RemoteCommands::run() {
  complete(options_.admin, admin_variable, default_admin);
  complete(options_.token_file, token_variable, "");
  if (*status_) return show_status(options_);
  if (*reconnect_) return give_order(options_, RemoteOrder::reconnect);
  if (*pause_) return give_order(options_, RemoteOrder::pause);
  if (*resume_) return give_order(options_, RemoteOrder::resume);
  if (*events_) return show_events(options_);
  if (*config_) return show_config(options_);
  if (*health_) return check_health(options_);
  return std::nullopt;
}

}  // namespace holdfast::cli
