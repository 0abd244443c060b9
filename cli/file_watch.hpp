// Says when one of a list of files has changed, by looking at them again and again. Reads none of them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace holdfast::cli {

/// A look costs one stat a file, follows symbolic links, and so sees what inotify on a file does not: Kubernetes changes a
/// mounted ConfigMap or Secret by pointing a link at another folder. It works on every file system.
class FileWatch {
 public:
  /// The files to look at from now on. What is known of those that were watched before stays known.
  void follow(const std::vector<std::string>& paths);
  /// As they are now, the files are known.
  void mark();
  /// Those that are other than known, once each of them is as it was at the look before: whoever writes a file in several
  /// steps has come to an end then. They are known from here on. A file that is not there has not changed.
  [[nodiscard]] std::vector<std::string> look();

 private:
  /// Device, inode, size, and the times of the last change of content and of state in nanoseconds.
  using Print = std::tuple<unsigned long, unsigned long, long, long long, long long>;
  struct Watched {
    std::optional<Print> known, seen;
  };
  static std::optional<Print> print_of(const std::string& path);

  std::map<std::string, Watched> files_;
};

}  // namespace holdfast::cli
