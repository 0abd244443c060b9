// Transactions that are prepared, and outlive their server: what the model does with them, and what it says of them later.
#include <algorithm>
#include <string>
#include <utility>

#include "tests/simulation/model_database.hpp"
#include "tests/unit/proxy/session_script.hpp"

namespace holdfast::simulation {

namespace say = holdfast::proxy::postgres::test;

void ModelDatabase::add(const std::vector<int>& written, const std::string& read) {
  for (const int row : written) {
    ++rows[row];
    read_by[row] = read;
  }
}

void ModelDatabase::end(std::uint64_t transaction, bool committed) {
  ended[transaction] = committed;
  last_durable_transaction = std::max(last_durable_transaction, transaction);
}

std::uint64_t ModelBackend::transaction() {
  if (transaction_ == 0) {
    transaction_ = ++database_.last_transaction;
    database_.ended.erase(transaction_);  // another one had it before a crash
  }
  return transaction_;
}

bool ModelBackend::prepare_transaction(const std::string& global_id, std::string& out) {
  if (status_ != 'T') {
    roll_back();
    status_ = 'I';
    out += say::complete("ROLLBACK");
    return true;
  }
  status_ = 'I';
  if (database_.prepared.contains(global_id)) {
    roll_back();
    fail("42710", out);
    return false;
  }
  const auto id = transaction();
  database_.prepared[global_id] = {id, std::exchange(pending_, {}), std::exchange(reads_, {})};
  database_.last_durable_transaction = std::max(database_.last_durable_transaction, id);
  transaction_ = 0;
  savepoint_.reset();
  committed_setting_ = setting_;
  out += say::complete("PREPARE TRANSACTION");
  return true;
}

bool ModelBackend::end_prepared(const std::string& global_id, bool commits, std::string& out) {
  const auto found = database_.prepared.find(global_id);
  if (status_ != 'I' || found == database_.prepared.end()) {
    fail(status_ == 'I' ? "42704" : "25001", out);
    return false;
  }
  const auto prepared = std::move(found->second);
  database_.prepared.erase(found);
  database_.end(prepared.transaction, commits);
  if (commits) database_.add(prepared.rows, prepared.reads);
  out += say::complete(commits ? "COMMIT PREPARED" : "ROLLBACK PREPARED");
  return true;
}

std::vector<std::string> ModelBackend::look_for_prepared() {
  const auto found = database_.prepared.find(parameters_.at(0));
  if (found == database_.prepared.end()) return {};
  return {std::to_string(found->second.transaction), std::to_string(database_.timeline)};
}

/// Whether the transaction of the parameters is there; 0 is anybody's.
bool ModelBackend::still_prepared() const {
  return std::ranges::any_of(database_.prepared, [this](const auto& each) {
    return parameters_.at(1) == "0" || std::to_string(each.second.transaction) == parameters_.at(1);
  });
}

std::string ModelBackend::status_of(const std::string& transaction) const {
  const auto found = database_.ended.find(std::stoull(transaction));
  return found == database_.ended.end() ? "in progress" : found->second ? "committed" : "aborted";
}

std::string ModelBackend::was_prepared() const {
  const auto of_that_name = database_.prepared.find(parameters_.at(0));
  const bool same = of_that_name != database_.prepared.end() && still_prepared();
  if (same) return "committed";
  return status_of(parameters_.at(1)) == "committed" ? "unknown" : "fenced";
}

std::string ModelBackend::was_ended() const {
  if (still_prepared()) return "fenced";
  if (parameters_.at(0) != std::to_string(database_.timeline)) return "unknown";
  const auto status = status_of(parameters_.at(1));
  return status == parameters_.at(2) ? "committed" : status == "in progress" ? "unknown" : "fenced";
}

}  // namespace holdfast::simulation
