// Both sides of hello: what a member says of itself, what a client asks, and the face that the proxy shows to clients.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/mongo/document.hpp"

namespace holdfast::mongo {

/// A member's topologyVersion: its process, and a number that grows with each change.
struct TopologyVersion {
  ObjectId process{};
  std::int64_t counter = 0;
  bool operator==(const TopologyVersion&) const = default;
};

struct Limits {
  std::int32_t object_size = 16 * 1024 * 1024, message_size = 48'000'000, batch_size = 100'000;
  bool operator==(const Limits&) const = default;
};

/// What a server says of itself.
struct MemberHello {
  bool ok = false;
  int code = 0;                   // where not ok
  std::string error;
  enum class Type { standalone, primary, secondary, arbiter, other, mongos, uninitialised } type = Type::other;
  std::string set_name;
  std::string primary;            // the address that it takes for the primary; empty: none
  std::vector<std::string> hosts; // data-bearing members that it knows
  std::vector<std::string> arbiters;
  std::string me;                 // its own address, as its set names it
  std::vector<std::pair<std::string, std::string>> tags;
  std::optional<std::int64_t> last_write;  // milliseconds since 1970
  std::int32_t wire_min = 0, wire_max = 0;
  Limits limits;
  std::optional<std::int32_t> session_timeout_minutes;
  std::optional<TopologyVersion> topology_version;
  std::string election_id;        // twelve bytes, of a primary; empty: none
  std::int64_t set_version = 0;
  bool has_set_version = false;
  std::vector<std::string> mechanisms;  // saslSupportedMechs, where that was asked
  std::vector<std::string> compressors; // of those that were offered to it
  std::string speculative;        // the answer to a login that was sent along, a document; empty: none
  [[nodiscard]] bool bears_data() const {
    return type == Type::standalone || type == Type::primary || type == Type::secondary;
  }
};

[[nodiscard]] MemberHello read_member_hello(std::string_view body);

/// The proxy's own first hello on a connection upstream. Never says `internalClient`: a server then leaves its error labels out.
/// With `mechanisms_of`, DATABASE.USER, it asks how that user may log in. `compressors` are offered, the most wanted first.
[[nodiscard]] std::string make_first_hello(std::string_view application, std::string_view mechanisms_of = {},
                                           const std::vector<std::string>& compressors = {});
/// Every later one: a client may name itself once only.
[[nodiscard]] std::string make_next_hello();
/// One that is answered when the member has something new to say, or after this time.
[[nodiscard]] std::string make_awaited_hello(const TopologyVersion& known, std::chrono::milliseconds limit);
/// One that asks for a client what it asked: how a user may log in, and the first step of its login.
[[nodiscard]] std::string make_login_hello(std::string_view mechanisms_of, std::string_view speculative);

/// What a client's hello asks.
struct HelloRequest {
  bool legacy = false;            // isMaster
  bool hello_ok = false;
  bool backpressure = false;      // it retries by itself what is answered as overloaded
  bool load_balanced = false;     // it takes what it speaks with for a load balancer, and wants the name of who is behind it
  bool has_metadata = false;
  std::string application, driver, driver_version;
  std::string wants_mechanisms_of;      // DATABASE.USER; empty: not asked
  std::string_view speculative;         // speculativeAuthenticate; empty: none
  std::optional<TopologyVersion> topology_version;
  std::optional<std::int64_t> await_milliseconds;
  int error_code = 0;             // it is malformed: what to answer
  std::string error;
};

/// Does this driver log in again over the connection where it is answered 391, and repeat its command? Behind name and version of a driver
/// stand those of what wraps it, parted by `|`.
[[nodiscard]] bool logs_in_again(std::string_view driver, std::string_view version);

enum class FaceKind { mongos, standalone };

/// What is shown to clients. Fixed before the first answer, but for what its counter counts.
struct Face {
  FaceKind kind = FaceKind::mongos;
  std::int32_t wire_min = 0, wire_max = 0;
  Limits limits;
  std::optional<std::int32_t> session_timeout_minutes;
  TopologyVersion version;
};

[[nodiscard]] HelloRequest read_hello_request(std::string_view body, const Face& face);

struct HelloExtras {
  std::int64_t local_time = 0;    // milliseconds since 1970
  std::int32_t connection_id = 0;
  std::vector<std::string> mechanisms;  // for saslSupportedMechs; empty: left out
  std::string speculative_answer;       // a document; empty: left out
};
[[nodiscard]] std::string make_face_hello(const Face& face, const HelloRequest& request, const HelloExtras& extras);

}  // namespace holdfast::mongo
