// Compares what is listened on as the kernel will, as far as that is known before.
#include "config/collisions.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <set>

namespace holdfast::config {
namespace {

enum class Overlap { none, maybe, certain };

/// An address as IPv6 has it, one of IPv4 mapped into it.
class Place {
 public:
  explicit Place(const std::string& host) {
    std::array<unsigned char, 4> four{};
    const auto* text = host == "localhost" ? "127.0.0.1" : host == "*" ? "0.0.0.0" : host.c_str();
    if (::inet_pton(AF_INET, text, four.data()) == 1) {
      bytes_[10] = bytes_[11] = 0xff;
      std::ranges::copy(four, bytes_.begin() + 12);
    } else {
      ::inet_pton(AF_INET6, text, bytes_.data());
    }
  }
  bool operator==(const Place&) const = default;
  [[nodiscard]] bool is_mapped() const { return is_zero(0, 10) && bytes_[10] == 0xff && bytes_[11] == 0xff; }
  [[nodiscard]] bool is_all() const { return is_zero(is_mapped() ? 12 : 0, 16); }

 private:
  [[nodiscard]] bool is_zero(std::size_t from, std::size_t to) const {
    return std::all_of(bytes_.begin() + from, bytes_.begin() + to, [](unsigned char byte) { return byte == 0; });
  }

  std::array<unsigned char, 16> bytes_{};
};

Overlap overlap(const ListenAddress& left, const ListenAddress& right) {
  if (left == right) return left.port == 0 && !left.is_unix() ? Overlap::none : Overlap::certain;
  if (left.is_unix() || right.is_unix() || left.port != right.port || left.port == 0) return Overlap::none;
  const Place one(left.host), other(right.host);
  if (one == other) return Overlap::certain;
  if (one.is_mapped() == other.is_mapped()) return one.is_all() || other.is_all() ? Overlap::certain : Overlap::none;
  // A socket for all of IPv6 takes IPv4 too, unless the machine says otherwise, or systemd, which may have opened it.
  const auto& six = one.is_mapped() ? other : one;
  return six.is_all() ? Overlap::maybe : Overlap::none;
}

}  // namespace

void check_collisions(LoadState& state, const Config& config, const YAML::Node& nodes) {
  std::set<std::string> ids;
  std::vector<ListenAddress> addresses;
  if (config.admin.listen) addresses.push_back(*config.admin.listen);
  for (std::size_t i = 0; i < config.connections.size(); ++i) {
    const auto& connection = config.connections[i];
    const YAML::Node node = nodes[i];
    const auto at = [&](const char* key, const std::string& message) {
      const auto place = node.IsMap() && node[key].IsDefined() ? node[key] : node;
      return state.at(place, "connections." + connection.id + "." + key, message);
    };
    if (!connection.id.empty() && !ids.insert(connection.id).second) {
      state.mistakes.push_back(at("id", "the id \"" + connection.id + "\" stands here twice"));
    }
    for (const auto& address : connection.listen) {
      const auto name = connection.id + ": " + address.to_string();
      for (const auto& other : addresses) {
        const auto found = overlap(other, address);
        const auto both = name + " can be listened on beside " + other.to_string();
        if (found == Overlap::maybe) {
          state.warnings.push_back(at("listen", both + " only where IPv6 sockets take no IPv4 (net.ipv6.bindv6only)"));
        } else if (found == Overlap::certain) {
          state.mistakes.push_back(at("listen", address == other ? name + " is listened on twice"
                                                                 : name + " cannot be listened on beside " + other.to_string()));
          break;  // one of several is enough to say
        }
      }
      addresses.push_back(address);
    }
  }
}

}  // namespace holdfast::config
