// Speaks HTTP to the admin port of a running proxy: one request, or a stream of events. It prints nothing.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::cli {

/// Where the admin port listens: `http://HOST:PORT`, `https://HOST:PORT`, `HOST:PORT` or `unix:PATH`.
struct AdminAddress {
  std::string given;      // as the user wrote it
  std::string host;       // an IPv6 address without its brackets
  std::string port;
  std::string unix_path;  // instead of host and port
  std::string authority;  // for the Host header
  bool tls = false;

  /// Throws std::runtime_error with a sentence.
  [[nodiscard]] static AdminAddress parse(const std::string& text);
};

/// Files for TLS; each may be empty. Without `ca_file` the system's authorities are trusted.
struct AdminTls {
  std::string ca_file, cert_file, key_file;
};

class AdminClient {
 public:
  enum class Method { get, post };
  /// Takes a piece of a stream; whether it told anything new.
  using Sink = std::function<bool(std::string_view)>;

  /// An empty `token_file` means that no token is sent. Throws std::runtime_error with a sentence.
  AdminClient(const std::string& address, const std::string& token_file, AdminTls tls = {});

  /// The body of a successful answer; throws std::runtime_error with a sentence for people in every other case.
  [[nodiscard]] std::string ask(Method method, const std::string& target) const;
  /// Hands over what comes until the proxy ends the stream, or until nothing new has come for `quiet`; without `quiet`,
  /// until the proxy gives no sign of life. False where the proxy ended it. Throws as `ask` does where it cannot begin.
  bool stream(const std::string& target, std::optional<std::chrono::milliseconds> quiet, const Sink& sink) const;

 private:
  class Exchange;

  AdminAddress address_;
  std::string token_file_;
  std::string token_;
  AdminTls tls_;
};

/// One segment of a path, whatever characters an id has.
[[nodiscard]] std::string percent_encoded(std::string_view segment);

}  // namespace holdfast::cli
