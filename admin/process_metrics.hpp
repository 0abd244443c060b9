// What the kernel says of this process.
#pragma once

namespace holdfast::admin {

/// Fields that /proc does not give stay 0.
struct ProcessMetrics {
  double cpu_seconds = 0;             // user and system
  double resident_memory_bytes = 0;
  double virtual_memory_bytes = 0;
  double open_descriptors = 0;
  double descriptors_max = 0;
  double start_time_seconds = 0;      // since the epoch
  double threads = 0;
};

[[nodiscard]] ProcessMetrics read_process_metrics();

}  // namespace holdfast::admin
