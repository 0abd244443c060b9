// What a client may send before it is logged in, and the answers of that phase: startup packets, requests for
// encryption, cancel requests, authentication. PostgreSQL documentation, "Start-up", "Canceling Requests in Progress".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/postgres/frame.hpp"

namespace holdfast::postgres {

/// Longest startup packet that a server accepts (MAX_STARTUP_PACKET_LENGTH).
inline constexpr std::uint32_t startup_length_max = 10'000;
inline constexpr std::int32_t protocol_3_0 = 3 << 16;
inline constexpr std::int32_t protocol_3_2 = 3 << 16 | 2;

struct Startup {
  enum class Kind { startup, ssl_request, gss_request, cancel };
  Kind kind{};
  std::int32_t version = 0;  // startup
  std::vector<std::pair<std::string, std::string>> parameters;  // startup, in the order they came
  std::int32_t process_id = 0;  // cancel
  std::string secret_key;       // cancel: 4 bytes, up to 256 in protocol 3.2

  /// The value of a parameter, empty when it is not there.
  [[nodiscard]] std::string_view parameter(std::string_view name) const;
  /// A replication connection (`replication` is anything that does not mean false).
  [[nodiscard]] bool is_replication() const;
};

enum class StartupResult { complete, need_more, bad_length, bad_packet, unsupported_version };

/// Parses the packet at the front of `bytes`; `used` is its size once complete.
[[nodiscard]] StartupResult parse_startup(std::string_view bytes, Startup& startup, std::size_t& used);

void write_startup(std::string& out, std::int32_t version,
                   const std::vector<std::pair<std::string, std::string>>& parameters);
void write_ssl_request(std::string& out);
void write_cancel_request(std::string& out, std::int32_t process_id, std::string_view secret_key);

/// Tells the client the newest minor version and the options that are not understood.
void write_negotiate_version(std::string& out, std::int32_t version, const std::vector<std::string>& unknown_options);
void write_authentication(std::string& out, std::int32_t kind, std::string_view data = {});
void write_backend_key_data(std::string& out, std::int32_t process_id, std::string_view secret_key);

/// Kinds of Authentication messages.
namespace authentication {
inline constexpr std::int32_t ok = 0, cleartext = 3, md5 = 5, gss = 7, sspi = 9, sasl = 10, sasl_continue = 11,
                              sasl_final = 12;
}

/// PasswordMessage, also used for cleartext and md5 answers.
void write_password(std::string& out, std::string_view password);
void write_sasl_initial(std::string& out, std::string_view mechanism, std::string_view data);
void write_sasl_response(std::string& out, std::string_view data);

struct SaslInitial {
  std::string_view mechanism, data;
};
/// A SASLInitialResponse's body; false when malformed.
[[nodiscard]] bool parse_sasl_initial(std::string_view body, SaslInitial& initial);
/// The mechanisms of an AuthenticationSASL (after its kind); false when malformed.
[[nodiscard]] bool parse_sasl_mechanisms(std::string_view data, std::vector<std::string_view>& mechanisms);

}  // namespace holdfast::postgres
