// Looks through the places where distributions put PostgreSQL. Checks no version.
#include "workload/postgres_binaries.hpp"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <stdexcept>

namespace holdfast::workload {

namespace {

bool has_server(const std::filesystem::path& directory) {
  return access((directory / "initdb").c_str(), X_OK) == 0 && access((directory / "postgres").c_str(), X_OK) == 0;
}

/// What `PG_CONFIG --bindir` prints.
std::string bindir_of(const std::string& pg_config) {
  std::string quoted;
  for (const char character : pg_config) {
    quoted += character == '\'' ? "'\\''" : std::string(1, character);
  }
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(("'" + quoted + "' --bindir 2>/dev/null").c_str(), "r"), pclose);
  std::array<char, 4096> line{};
  if (pipe == nullptr || std::fgets(line.data(), static_cast<int>(line.size()), pipe.get()) == nullptr) {
    return {};
  }
  std::string directory = line.data();
  while (!directory.empty() && directory.back() == '\n') {
    directory.pop_back();
  }
  return directory;
}

std::optional<std::filesystem::path> newest_of(const std::filesystem::path& versions_directory) {
  std::optional<std::filesystem::path> newest;
  double newest_version = 0;
  std::error_code absent;
  for (const auto& entry : std::filesystem::directory_iterator(versions_directory, absent)) {
    const double version = std::strtod(entry.path().filename().c_str(), nullptr);
    if (version > newest_version && has_server(entry.path() / "bin")) {
      newest = entry.path() / "bin";
      newest_version = version;
    }
  }
  return newest;
}

}  // namespace

PostgresSearch postgres_search() {
  PostgresSearch search;
  if (const char* wish = std::getenv("PG_CONFIG"); wish != nullptr && *wish != '\0') {
    search.pg_config = wish;
  }
  if (const char* path = std::getenv("PATH"); path != nullptr) {
    search.path = path;
  }
  return search;
}

std::filesystem::path find_postgres(const PostgresSearch& search) {
  if (search.pg_config) {
    const std::filesystem::path directory = bindir_of(*search.pg_config);
    if (!has_server(directory)) {
      throw std::runtime_error("PG_CONFIG is " + *search.pg_config + ", which does not lead to a directory with initdb and postgres");
    }
    return directory;
  }
  if (const auto newest = newest_of(search.versions_directory)) {
    return *newest;
  }
  std::istringstream path(search.path);
  for (std::string directory; std::getline(path, directory, ':');) {
    if (!directory.empty() && has_server(directory)) {
      return directory;
    }
  }
  throw std::runtime_error("no PostgreSQL server found: install one (Debian: apt-get install postgresql), "
                           "or put initdb and postgres on PATH, or set PG_CONFIG");
}

}  // namespace holdfast::workload
