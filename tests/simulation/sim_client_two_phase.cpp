// A client's prepared transactions: one at a time, under one global id, and nobody else's to end.
#include <algorithm>
#include <utility>

#include "tests/simulation/sim_client.hpp"

namespace holdfast::simulation {

std::optional<SimClient::Kind> SimClient::pick_two_phase(char status) {
  const auto state = ledger_.prepared[global_id_];
  if (two_phase_sent_ || segments_left_ <= 0) return std::nullopt;
  std::optional<Kind> kind;
  // What may be there still need not be: then the id is free, or is not.
  if (status == 'T' && state != Prepared::there && clock_.chance(state == Prepared::unknown ? 90 : prefers_two_phase_ ? 60 : 3)) kind = Kind::prepare;
  if (status == 'I' && state == Prepared::there && clock_.chance(60)) {
    kind = clock_.chance(70) ? Kind::commit_prepared : Kind::rollback_prepared;
  }
  if (status == 'I' && state == Prepared::unknown && clock_.chance(3)) kind = Kind::rollback_prepared;
  two_phase_sent_ = kind.has_value();
  return kind;
}

/// What it had written is known by the answer to its end.
void SimClient::end_prepared(Belief belief) {
  for (const int row : std::exchange(prepared_rows_, {})) {
    believe(row, belief);
    ledger_.reads[row] = prepared_reads_;
  }
  prepared_reads_.clear();
}

void SimClient::on_two_phase_completed(Kind kind, const std::string& tag) {
  two_phase_sent_ = false;
  auto& state = ledger_.prepared[global_id_];
  if (kind != Kind::prepare) {
    ASSERT_EQ(tag, kind == Kind::commit_prepared ? "COMMIT PREPARED" : "ROLLBACK PREPARED");
    state = Prepared::gone;
    return end_prepared(kind == Kind::commit_prepared ? Belief::committed : Belief::never_ran);
  }
  if (tag == "ROLLBACK") return end_transaction(Belief::never_ran);
  ASSERT_EQ(tag, "PREPARE TRANSACTION");
  state = Prepared::there;
  prepared_rows_ = std::exchange(open_rows_, {});
  prepared_reads_ = std::exchange(open_reads_, {});
  savepoint_.reset();
  setting_ = setting_now_;
}

void SimClient::on_two_phase_error(Kind kind, const std::string& code) {
  two_phase_sent_ = false;
  auto& state = ledger_.prepared[global_id_];
  const bool unknown = code == "08007";
  // In a pipeline it may come upon a transaction block that something before it has left open.
  static const std::vector<std::string> known{"08007", "40001", "57P03", "57014", "25P02", "57P01", "25001"};
  const bool expected = kind == Kind::prepare ? code == "42710" && ledger_.may_be_prepared.contains(global_id_)
                                              : code == "42704" && state == Prepared::unknown;
  ASSERT_TRUE(expected || std::ranges::find(known, code) != known.end()) << "unexpected error " << code << " of a two-phase commit";
  if (unknown) state = Prepared::unknown;
  // A process that nobody listens to may do it yet, so 42704 says nothing for later, and an id that may yet be ended is of no
  // more use.
  if (unknown && kind == Kind::prepare) ledger_.may_be_prepared.insert(global_id_);
  if (!unknown || kind == Kind::prepare) return;
  end_prepared(Belief::unknown);
  two_phase_sent_ = true;
}

}  // namespace holdfast::simulation
