// Reading the configuration: file, environment and flags become a validated Config, or a list of mistakes.
// The only header through which the other folders reach the parser; yaml-cpp stays behind it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config.hpp"

namespace holdfast::config {

/// A mistake in the configuration. `line` and `column` count from 1; 0 where it stands in no file.
struct Mistake {
  std::string origin;  // the file's path, `environment`, or the flag
  int line = 0;
  int column = 0;
  std::string message;
  /// `FILE:LINE:COL: message`, or `ORIGIN: message` outside a file.
  [[nodiscard]] std::string to_string() const;
};

/// What a Config is made from. Order of precedence: flags, environment, file, default.
struct Sources {
  std::optional<std::string> file;                              // -c FILE
  std::optional<std::string> upstream;                          // run --upstream URI
  std::optional<std::string> listen;                            // run --listen ADDR
  std::optional<std::string> admin;                             // run --admin ADDR|off
  std::vector<std::string> set;                                 // run --set KEY=VALUE
  std::function<std::optional<std::string>(std::string_view)> environment;  // getenv, or a test's map
  std::vector<std::string> environment_names;                   // all names set, for `HOLDFAST_…` typing mistakes
};

struct Loaded {
  Config config;                  // meaningful only without mistakes
  std::vector<Mistake> mistakes;  // every one, not only the first
  std::vector<Mistake> warnings;
  [[nodiscard]] bool ok() const { return mistakes.empty(); }
};

/// Reads and validates; never throws for a mistake of the user's. Reads the files named by `password_file` and its kin.
[[nodiscard]] Loaded load(const Sources& sources);

/// `250ms`, `5s`, `1m`, `2h`; a bare number is refused, but 0.
[[nodiscard]] std::optional<milliseconds> parse_duration(std::string_view text);
/// `64KiB`, `1MiB`, `4096`.
[[nodiscard]] std::optional<std::size_t> parse_size(std::string_view text);
/// `127.0.0.1:6432`, `[::1]:6432`, `unix:/path`; `error` gets a sentence on failure.
[[nodiscard]] std::optional<ListenAddress> parse_listen(std::string_view text, std::string& error);
/// A `postgres://` or `postgresql://` URI as libpq reads it; `error` gets a sentence on failure, which never quotes the password.
[[nodiscard]] std::optional<PostgresUri> parse_postgres_uri(std::string_view text, std::string& error);
/// A `mongodb://` or `mongodb+srv://` connection string as drivers read it; `error` gets a sentence on failure, which never quotes the password.
[[nodiscard]] std::optional<MongoUri> parse_mongo_uri(std::string_view text, std::string& error);
/// A mongodb+srv:// URI with the hosts and options that DNS has for it: SRV records, of which the first `hosts_max` are taken, and the
/// TXT records of its host. `error` gets a sentence where they are not what they may be.
[[nodiscard]] std::optional<MongoUri> with_seeds(MongoUri uri, const std::vector<HostPort>& targets, const std::vector<std::string>& texts,
                                                 std::string& error);
/// What a later look-up of the same name makes of the hosts that are known: those of them that it names, then new ones, `hosts_max` at
/// most. One outside of the URI's domain is passed over. None where nothing is left: what is known stays then. `error` gets a sentence on
/// what is wrong with the records.
[[nodiscard]] std::vector<HostPort> polled_seeds(const MongoSrv& srv, const std::vector<HostPort>& known,
                                                 const std::vector<HostPort>& targets, std::string& error);
/// The content of a file without its last line break; a sentence in `error` where it cannot be read.
[[nodiscard]] std::optional<std::string> read_secret_file(const std::string& path, std::string& error);
/// The URI with its password replaced by `***`, for display.
[[nodiscard]] std::string redact_uri(std::string_view uri);

}  // namespace holdfast::config
