// The Prometheus text format of a snapshot.
#pragma once

#include <string>

#include "admin/metrics.hpp"
#include "admin/process_metrics.hpp"

namespace holdfast::admin {

[[nodiscard]] std::string metrics_text(const MetricsSnapshot& snapshot, const ProcessMetrics& process);

}  // namespace holdfast::admin
