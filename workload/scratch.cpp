// Directories, ports, passwords and small files for throw-away servers. Starts nothing.
#include "workload/scratch.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <random>
#include <stdexcept>
#include <system_error>

namespace holdfast::workload {

namespace {

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

bool is_free(std::uint16_t port) {
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) {
    fail("socket");
  }
  const int yes = 1;
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool bound = bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(descriptor);
  return bound;
}

}  // namespace

ScratchDirectory::ScratchDirectory(const std::string& name_prefix) {
  const char* wish = geteuid() == 0 ? nullptr : std::getenv("TMPDIR");
  std::string name = std::string(wish != nullptr && *wish != '\0' ? wish : "/tmp") + "/" + name_prefix + "-XXXXXX";
  if (mkdtemp(name.data()) == nullptr || chmod(name.c_str(), 0711) != 0) {
    fail("cannot make a directory " + name);
  }
  path_ = name;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;  // Nothing sensible can be done about a file that cannot be removed.
  if (leftovers_ == Leftovers::none) {
    std::filesystem::remove_all(path_, ignored);
    return;
  }
  for (const auto& entry : std::filesystem::directory_iterator(path_, ignored)) {
    if (entry.path().extension() != ".log") {
      std::filesystem::remove_all(entry.path(), ignored);
    }
  }
  std::filesystem::remove(path_, ignored);  // Succeeds only where there was no log.
}

std::uint16_t free_port() {
  int lowest = 32768;
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> lowest;
  // A machine that gives out nearly all ports leaves no room below; then the risk is taken.
  const std::uint16_t last = lowest > 12'000 ? static_cast<std::uint16_t>(std::min(lowest - 1, 65'535)) : 32'767;
  std::random_device entropy;
  std::uniform_int_distribution<int> draw(10'000, last);
  for (int attempt = 0; attempt < 1'000; ++attempt) {
    const auto port = static_cast<std::uint16_t>(draw(entropy));
    if (is_free(port)) {
      return port;
    }
  }
  throw std::runtime_error("no free TCP port found on 127.0.0.1");
}

std::string random_password() {
  std::array<unsigned char, 16> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    fail("getrandom");
  }
  std::string text;
  for (const unsigned char byte : bytes) {
    text += "0123456789abcdef"[byte >> 4U];
    text += "0123456789abcdef"[byte & 15U];
  }
  return text;
}

void write_private_file(const std::filesystem::path& path, const std::string& content) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (descriptor < 0) {
    fail(path.string());
  }
  const auto written = write(descriptor, content.data(), content.size());
  close(descriptor);
  if (written != static_cast<ssize_t>(content.size())) {
    fail(path.string());
  }
}

std::string tail_of(const std::filesystem::path& path, std::size_t lines) {
  std::ifstream file(path);
  std::deque<std::string> last;
  for (std::string line; std::getline(file, line);) {
    last.push_back(line);
    if (last.size() > lines) {
      last.pop_front();
    }
  }
  std::string text;
  for (const auto& line : last) {
    text += line + "\n";
  }
  return text;
}

}  // namespace holdfast::workload
