// Blocking loopback sockets for the benchmarks of MongoDB, and whole messages read from them.
#pragma once

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "protocol/mongo/frame.hpp"

namespace holdfast::bench {

inline void require(bool fine, const char* what) {
  if (!fine) throw std::system_error(errno, std::system_category(), what);
}

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/// A TCP socket of 127.0.0.1; closed by the end of the process.
inline int make_socket() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require(descriptor >= 0, "socket");
  return descriptor;
}

inline void send_at_once(int descriptor) {
  const int on = 1;
  require(::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "TCP_NODELAY");
}

/// False where the peer has gone.
inline bool send_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

/// Reads one message at a time; whoever talks to it sends no second one before the first is answered.
class MessageReader {
 public:
  /// Empty where the peer has gone. Valid until the next call.
  std::string_view read(int descriptor) {
    std::size_t have = 0, want = mongo::header_size;
    for (;;) {
      if (have >= mongo::header_size) {
        mongo::Header header;
        if (mongo::parse_header({buffer_.data(), have}, header) != mongo::FrameError::none) throw std::runtime_error("no message");
        want = header.length;
        if (have == want) return {buffer_.data(), have};
        if (buffer_.size() < want) buffer_.resize(want);
      }
      const auto got = ::recv(descriptor, buffer_.data() + have, buffer_.size() - have, 0);
      if (got <= 0) return {};
      have += static_cast<std::size_t>(got);
    }
  }

 private:
  std::vector<char> buffer_ = std::vector<char>(64 * 1024);
};

}  // namespace holdfast::bench
