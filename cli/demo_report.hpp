// The demo's final table and its verdict. Measures nothing.
#pragma once

#include <string>
#include <vector>

#include "cli/demo_stage.hpp"
#include "workload/history.hpp"
#include "workload/statistics.hpp"

namespace holdfast::cli {

/// All that the verdict rests on.
struct DemoResult {
  std::string database;             // its name and version
  std::string heard = "notifications";  // what the clients hear without asking
  StageSnapshot stage;
  std::vector<workload::ClientSnapshot> clients;
  workload::HistoryVerdict history;
  std::vector<std::string> unserved;  // clients without an answer after the last outage
};

/// The table, with a newline at its end.
[[nodiscard]] std::string demo_table(const DemoResult& result);
/// A sentence for each thing that went wrong; none means success.
[[nodiscard]] std::vector<std::string> demo_faults(const DemoResult& result);
/// `NAME: what it complained of first`, for each client that did.
[[nodiscard]] std::vector<std::string> demo_complaints(const DemoResult& result);

}  // namespace holdfast::cli
