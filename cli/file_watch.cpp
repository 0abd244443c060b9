// Compares what stat says of each file.
#include "cli/file_watch.hpp"

#include <sys/stat.h>

#include <utility>

namespace holdfast::cli {
namespace {

long long nanoseconds(const timespec& time) { return time.tv_sec * 1'000'000'000LL + time.tv_nsec; }

}  // namespace

std::optional<FileWatch::Print> FileWatch::print_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return Print{status.st_dev, status.st_ino, status.st_size, nanoseconds(status.st_mtim), nanoseconds(status.st_ctim)};
}

void FileWatch::follow(const std::vector<std::string>& paths) {
  std::map<std::string, Watched> next;
  for (const auto& path : paths) {
    if (const auto found = files_.find(path); found != files_.end()) {
      next.insert(*found);
    } else {
      const auto print = print_of(path);
      next.emplace(path, Watched{print, print});
    }
  }
  files_ = std::move(next);
}

void FileWatch::mark() {
  for (auto& [path, file] : files_) file.known = file.seen = print_of(path);
}

std::vector<std::string> FileWatch::look() {
  std::vector<std::string> changed;
  bool settled = true;
  for (auto& [path, file] : files_) {
    const auto before = std::exchange(file.seen, print_of(path));
    if (!file.seen || file.seen == file.known) continue;
    settled = settled && file.seen == before;
    changed.push_back(path);
  }
  if (!settled) return {};
  for (const auto& path : changed) files_[path].known = files_[path].seen;
  return changed;
}

}  // namespace holdfast::cli
