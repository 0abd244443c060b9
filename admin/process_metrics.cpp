// Reads /proc/self (proc(5)).
#include "admin/process_metrics.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace holdfast::admin {
namespace {

/// Seconds since the epoch at which the machine was started.
double boot_time() {
  std::ifstream file("/proc/stat");
  std::string word;
  double value = 0;
  while (file >> word) {
    if (word == "btime" && file >> value) return value;
  }
  return 0;
}

/// The fields of /proc/self/stat from the third on: the second, the program's name, may hold anything.
std::vector<double> stat_fields() {
  std::ifstream file("/proc/self/stat");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto name_end = text.rfind(") ");
  if (name_end == std::string::npos) return {};
  std::istringstream rest(text.substr(name_end + 2));
  std::string state;
  rest >> state;
  std::vector<double> fields{0};
  for (double field = 0; rest >> field;) fields.push_back(field);
  return fields;
}

}  // namespace

ProcessMetrics read_process_metrics() {
  ProcessMetrics metrics;
  // Numbered as proc(5) does, where the state is field 3.
  constexpr std::size_t user_time = 14, system_time = 15, threads = 20, start_time = 22, virtual_size = 23, resident = 24;
  constexpr std::size_t first = 3;
  const auto fields = stat_fields();
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  if (fields.size() > resident - first && ticks > 0) {
    metrics.cpu_seconds = (fields[user_time - first] + fields[system_time - first]) / ticks;
    metrics.threads = fields[threads - first];
    metrics.start_time_seconds = boot_time() + fields[start_time - first] / ticks;
    metrics.virtual_memory_bytes = fields[virtual_size - first];
    metrics.resident_memory_bytes = fields[resident - first] * static_cast<double>(::sysconf(_SC_PAGESIZE));
  }
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end; !error && entry != end;
       entry.increment(error)) {
    ++metrics.open_descriptors;
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) metrics.descriptors_max = static_cast<double>(limit.rlim_cur);
  return metrics;
}

}  // namespace holdfast::admin
