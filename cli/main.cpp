// The holdfast program: reads the command line and runs what it names.
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <optional>
#include <string>

#include "cli/check_names.hpp"
#include "cli/demo.hpp"
#include "cli/demo_mongo_program.hpp"
#include "cli/demo_postgres.hpp"
#include "cli/logging.hpp"
#include "cli/remote_flags.hpp"
#include "cli/runtime.hpp"
#include "protocol/postgres/ledger.hpp"
#include "cli/version.hpp"
#include "config/load.hpp"

extern char** environ;

namespace holdfast::cli {
namespace {

constexpr int exit_ok = 0, exit_failure = 1, exit_configuration = 2;

std::optional<std::string> environment(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

config::Sources process_sources() {
  config::Sources sources;
  sources.environment = environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view name(*entry, std::strcspn(*entry, "="));
    if (name != admin_variable) sources.environment_names.emplace_back(name);
  }
  return sources;
}

/// Without -c: HOLDFAST_CONFIG, else the usual place where there is no upstream to take instead.
void find_file(config::Sources& sources) {
  if (sources.file || sources.upstream) return;
  if (const auto named = environment("HOLDFAST_CONFIG")) {
    sources.file = named;
  } else if (constexpr auto usual = "/etc/holdfast/holdfast.yaml"; ::access(usual, R_OK) == 0) {
    sources.file = usual;
  }
}

int report(const config::Loaded& loaded) {
  for (const auto& warning : loaded.warnings) std::cerr << "warning: " << warning.to_string() << '\n';
  for (const auto& mistake : loaded.mistakes) std::cerr << mistake.to_string() << '\n';
  return loaded.ok() ? exit_ok : exit_configuration;
}

int check(const config::Sources& sources) {
  const auto loaded = config::load(sources);
  if (const auto code = report(loaded); code != exit_ok) return code;
  return check_names(loaded.config) ? exit_ok : exit_configuration;
}

/// Each session needs two descriptors; the soft limit is usually far below what the system allows.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// The password of a URI stands in the process title for everybody on the machine to see: it is overwritten there.
void hide_arguments(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    const auto redacted = config::redact_uri(argument);
    if (redacted == argument) continue;
    const auto size = std::strlen(argv[i]);
    std::memset(argv[i], 0, size);
    std::memcpy(argv[i], redacted.data(), std::min(size, redacted.size()));
  }
}

int run(config::Sources sources) {
  find_file(sources);
  auto loaded = config::load(sources);
  if (const int code = report(loaded); code != exit_ok) return code;
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  std::vector<std::string> ids;
  for (const auto& connection : loaded.config.connections) ids.push_back(connection.id);
  set_up_logging(loaded.config.log, std::move(ids));
  try {
    Runtime runtime(std::move(loaded.config), std::move(sources));
    return runtime.run();
  } catch (const std::exception& error) {
    std::cerr << "holdfast: " << error.what() << '\n';
    return exit_failure;
  }
}

int main(int argc, char** argv) {
  CLI::App app{"Keeps database sessions alive through restarts, crashes and failovers."};
  app.set_version_flag("--version", std::string("holdfast ") + version);
  app.require_subcommand(1);

  auto sources = process_sources();
  auto* run_command = app.add_subcommand("run", "Runs the proxy in the foreground");
  run_command->add_option("-c,--config", sources.file, "Configuration file");
  run_command->add_option("--upstream", sources.upstream, "One connection, without a file: postgres://…, mongodb://… or mongodb+srv://…");
  run_command->add_option("--listen", sources.listen, "Address to listen on, with --upstream");
  run_command->add_option("--admin", sources.admin, "Address of the admin port, or off");
  run_command->add_option("--set", sources.set, "Overrides a setting, as in reconnect.max_retries=5")->allow_extra_args(false);

  auto* check_command = app.add_subcommand("check", "Validates a configuration and prints every mistake");
  check_command->add_option("-c,--config", sources.file, "Configuration file")->required();

  auto* demo_command = app.add_subcommand("demo", "Kills a throw-away database again and again under a workload");
  DemoOptions demo;
  std::string database = "postgres", duration = "30s", model;
  bool stay = false;
  demo_command->add_option("database", database, "postgres or mongodb")->check(CLI::IsMember({"postgres", "mongodb"}));
  demo_command->add_option("--for", duration, "How long, as in 30s or 2m");
  demo_command->add_option("--model", model, "mongodb: the program of a model replica set, for where there is no mongod");
  demo_command->add_flag("--stay", stay, "Keep running afterwards, for a look by hand");

  auto* ledger_command = app.add_subcommand("ledger", "Prints the SQL that exactly_once: on needs in each database");
  bool drop_ledger = false;
  ledger_command->add_flag("--drop", drop_ledger, "The SQL that removes it again");

  RemoteCommands remote(app);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? exit_ok : exit_configuration;
  }
  hide_arguments(argc, argv);
  if (*run_command) return run(std::move(sources));
  if (*check_command) return check(sources);
  if (*ledger_command) {
    std::cout << (drop_ledger ? postgres::ledger_removal() : postgres::ledger_setup());
    return exit_ok;
  }
  if (const auto code = remote.run()) return *code;
  const auto length = config::parse_duration(duration);
  if (!length || length->count() == 0) {
    std::cerr << "holdfast: --for " << duration << ": write 30s or 2m\n";
    return exit_configuration;
  }
  demo.duration = *length;
  demo.end = stay ? DemoEnd::stay : DemoEnd::finish;
  return database == "mongodb" ? run_mongo_demo_program(demo, model) : run_demo(demo, postgres_demo);
}

}  // namespace
}  // namespace holdfast::cli

int main(int argc, char** argv) {
  try {
    return holdfast::cli::main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "holdfast: " << error.what() << '\n';
    return 1;
  }
}
