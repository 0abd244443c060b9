// What a throw-away server needs of the machine: a directory, a free port, a password. Starts nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace holdfast::workload {

enum class Leftovers { none, logs };

/// A new directory that others may pass through but not list; removed with all it holds when the object ends.
class ScratchDirectory {
 public:
  /// Below TMPDIR, for root below /tmp (the server's user must be able to reach it). Throws std::system_error.
  explicit ScratchDirectory(const std::string& name_prefix);
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// `logs`: the destructor leaves the files that end in .log and stand directly in the directory.
  void leave(Leftovers leftovers) { leftovers_ = leftovers; }

 private:
  std::filesystem::path path_;
  Leftovers leftovers_ = Leftovers::none;
};

/// A TCP port that nobody is bound to on 127.0.0.1, outside the range from which the kernel takes the ports of
/// outgoing connections: within it, a client that asks for a dead server can be connected to itself.
[[nodiscard]] std::uint16_t free_port();
/// 128 random bits in hexadecimal.
[[nodiscard]] std::string random_password();
/// Writes a file of mode 0600. Throws std::system_error.
void write_private_file(const std::filesystem::path& path, const std::string& content);
/// The last `lines` lines of a file, each with its newline; empty when it cannot be read.
[[nodiscard]] std::string tail_of(const std::filesystem::path& path, std::size_t lines);

}  // namespace holdfast::workload
