// Writes the demo's table and judges its result.
#include "cli/demo_report.hpp"

#include <algorithm>

#include "workload/documented_errors.hpp"

namespace holdfast::cli {

namespace {

constexpr std::size_t ids_shown = 5;

std::string row(std::string name, const std::string& value) {
  name.resize(std::max<std::size_t>(24, name.size() + 2), ' ');
  return name + value + "\n";
}

std::string count_and_ids(const std::vector<workload::WriteId>& ids) {
  std::string text = std::to_string(ids.size());
  for (std::size_t shown = 0; shown < std::min(ids.size(), ids_shown); ++shown) {
    text += (shown == 0 ? ": " : ", ") + std::to_string(ids[shown]);
  }
  return text + (ids.size() > ids_shown ? ", ..." : "");
}

std::string longest_hold(const DemoResult& result) {
  const auto longest = std::max_element(result.clients.begin(), result.clients.end(),
                                        [](const auto& a, const auto& b) { return a.longest_wait < b.longest_wait; });
  return longest == result.clients.end() ? "none" : seconds(longest->longest_wait) + " (" + longest->name + ")";
}

std::string outages(const StageSnapshot& stage) {
  std::string text = std::to_string(stage.outages());
  if (stage.primary_kills + stage.stepdowns > 0) {
    text += " (primary killed " + std::to_string(stage.primary_kills) + " times, stepped down " + std::to_string(stage.stepdowns);
  } else {
    text += " (server killed " + std::to_string(stage.postmaster_kills) + " times, one backend " + std::to_string(stage.backend_kills);
  }
  if (stage.found_dead > 0) {
    text += ", killed by hand " + std::to_string(stage.found_dead);
  }
  return text + "), longest " + seconds(stage.longest_outage);
}

}  // namespace

std::string demo_table(const DemoResult& result) {
  const auto all = workload::add_up(result.clients);
  std::string table = row("database", result.database);
  table += row("sessions", std::to_string(all.sessions));
  table += row("disconnections", std::to_string(all.disconnections));
  if (all.refused_logins > 0) {
    table += row("logins refused", std::to_string(all.refused_logins));
  }
  table += row("statements", std::to_string(all.statements));
  table += row("outages", outages(result.stage));
  table += row("longest hold", longest_hold(result));
  if (all.errors.empty()) {
    table += row("errors", "none");
  }
  for (const auto& [code, count] : all.errors) {
    table += row("errors " + (code.empty() ? "(no code)" : code), std::to_string(count) + "  " + std::string(workload::meaning_of(code)));
  }
  table += row(result.heard, std::to_string(all.notifications) + " heard, " + std::to_string(all.warnings) + " warnings");
  table += row("wrong answers", std::to_string(all.wrong_answers));
  table += row("writes acknowledged", std::to_string(result.history.acknowledged));
  table += row("writes lost", count_and_ids(result.history.lost));
  table += row("writes doubled", count_and_ids(result.history.doubled));
  if (!result.history.torn.empty() || !result.history.invented.empty()) {
    table += row("writes torn", count_and_ids(result.history.torn));
    table += row("writes invented", count_and_ids(result.history.invented));
  }
  return table;
}

std::vector<std::string> demo_faults(const DemoResult& result) {
  const auto all = workload::add_up(result.clients);
  std::vector<std::string> faults;
  const auto judge = [&](std::size_t count, const std::string& what) {
    if (count > 0) {
      faults.push_back(std::to_string(count) + " " + what);
    }
  };
  judge(all.disconnections, "times a client was disconnected");
  judge(all.refused_logins, "logins were refused");
  judge(all.unanswered, "statements never got an answer");
  judge(all.wrong_answers, "answers were wrong");
  judge(all.undocumented_errors, "errors were none of the documented ones");
  judge(result.history.lost.size(), "acknowledged writes were lost");
  judge(result.history.doubled.size(), "writes were doubled");
  judge(result.history.torn.size(), "transactions were committed in part");
  judge(result.history.invented.size(), "writes were found that nobody made");
  if (all.writes == 0) {
    faults.emplace_back("no write was acknowledged");
  }
  if (result.stage.outages() == 0) {
    faults.emplace_back("the server was never killed: let the demo run longer");
  }
  for (const auto& name : result.unserved) {
    faults.push_back(name + " was not served after the last outage");
  }
  return faults;
}

std::vector<std::string> demo_complaints(const DemoResult& result) {
  std::vector<std::string> complaints;
  for (const auto& client : result.clients) {
    if (!client.first_complaint.empty()) {
      complaints.push_back(client.name + ": " + client.first_complaint);
    }
  }
  return complaints;
}

}  // namespace holdfast::cli
