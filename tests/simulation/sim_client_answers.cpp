// How a simulated client reads its answers, and what it believes after them.
#include <algorithm>
#include <utility>

#include "tests/simulation/sim_client.hpp"

namespace holdfast::simulation {

namespace pg = holdfast::postgres;

void SimClient::received(std::string_view bytes) {
  in_ += bytes;
  pg::Header header;
  while (!done_ && pg::read_header(in_, header) == pg::HeaderResult::complete && in_.size() >= header.size) {
    const auto message = in_.substr(0, header.size);
    in_.erase(0, header.size);
    checker_.received(message);
    on_message(message);
  }
}

void SimClient::on_message(const std::string& message) {
  const auto body = std::string_view(message).substr(pg::header_size);
  if (message[0] == 'A' || message[0] == 'N' || message[0] == 'S') return;
  if (message[0] == 'E') {
    const auto fields = pg::parse_error(body);
    history_ += " <E" + std::string(fields->code);
    copying_ = false;
    if (fields->ends_connection()) {
      fatal_ = std::string(fields->code) + ' ' + std::string(fields->message);
      return;
    }
    ASSERT_FALSE(owed_.empty()) << "an error that answers nothing";
    owed_.front().error = fields->code;
    return;
  }
  ASSERT_FALSE(owed_.empty()) << "a reply that answers nothing: " << message[0];
  auto& segment = owed_.front();
  waiting_since_ = clock_.now();
  switch (message[0]) {
    case 'D': {
      std::vector<std::optional<std::string_view>> columns;
      ASSERT_TRUE(pg::parse_data_row(body, columns));
      collected_value_ = columns.at(0).value_or("");
      break;
    }
    case 'C':
      segment.tags.emplace_back(pg::command_tag(body));
      segment.values.push_back(std::exchange(collected_value_, {}));
      history_ += " <" + segment.tags.back();
      break;
    case 'G':
      copying_ = true;
      send_copy_data();
      break;
    case 'Z': {
      copying_ = false;
      const auto ended = std::move(segment);
      owed_.pop_front();
      history_ += " <Z" + std::string(body);
      on_segment(ended, body[0]);
      status_ = body[0];
      if (!owed_.empty()) return;
      waiting_since_.reset();
      think();
      break;
    }
    default: break;
  }
}

void SimClient::disconnected() {
  done_ = true;
  if (two_phase_sent_) ledger_.prepared[global_id_] = Prepared::unknown;
  waiting_since_.reset();
}

void SimClient::believe(int row, Belief belief) { ledger_.rows[row] = belief; }

void SimClient::end_transaction(Belief belief) {
  savepoint_.reset();
  const auto reads = std::exchange(open_reads_, {});
  for (const int row : std::exchange(open_rows_, {})) {
    believe(row, belief);
    ledger_.reads[row] = reads;
  }
  if (belief == Belief::committed) setting_ = setting_now_;
  if (belief == Belief::never_ran) setting_now_ = setting_;
  if (belief == Belief::unknown && setting_ != setting_now_) setting_ = setting_now_ = std::nullopt;
}

/// Nothing is left of what came behind the savepoint, whatever the transaction comes to.
void SimClient::go_back() {
  for (auto row = open_rows_.begin() + static_cast<std::ptrdiff_t>(savepoint_->rows); row != open_rows_.end(); ++row) {
    believe(*row, Belief::never_ran);
  }
  open_rows_.resize(savepoint_->rows);
  setting_now_ = savepoint_->setting;
}

void SimClient::on_segment(const Segment& segment, char status) {
  ASSERT_LE(segment.tags.size(), segment.operations.size()) << "more results than statements";
  for (std::size_t i = 0; i < segment.tags.size(); ++i) on_completed(segment.operations[i], segment.tags[i], segment.values[i]);
  if (!segment.error.empty()) return on_error(segment, segment.tags.size(), status);
  ASSERT_EQ(segment.tags.size(), segment.operations.size()) << "a statement without its result";
  if (status != 'I') return;
  end_transaction(Belief::committed);
}

void SimClient::on_completed(const Operation& operation, const std::string& tag, const std::string& value) {
  if (is_two_phase(operation.kind)) return on_two_phase_completed(operation.kind, tag);
  switch (operation.kind) {
    case Kind::insert:
    case Kind::copy: open_rows_.insert(open_rows_.end(), operation.rows.begin(), operation.rows.end()); break;
    case Kind::count: open_reads_ += value + ' '; break;
    case Kind::select: ASSERT_EQ(value, operation.value) << "another's result"; break;
    case Kind::commit:
    case Kind::chain:
    case Kind::rollback: end_transaction(tag == "COMMIT" ? Belief::committed : Belief::never_ran); break;
    case Kind::set: setting_now_ = operation.value; break;
    case Kind::show:
      if (setting_now_) {
        ASSERT_EQ(value, *setting_now_) << "a setting was not restored";
      }
      break;
    case Kind::listen: listens_ = true; break;
    case Kind::unlisten: listens_ = false; break;
    case Kind::save: savepoint_ = {open_rows_.size(), setting_now_}; break;
    case Kind::back:
      ASSERT_TRUE(savepoint_) << "a savepoint that is none";
      go_back();
      break;
    case Kind::begin:
    case Kind::lock:
    case Kind::failing:
    default: break;
  }
}

/// The statement `at` failed, and those behind it in its segment never ran.
void SimClient::on_error(const Segment& segment, std::size_t at, char status) {
  const bool unknown = segment.error == "08007";
  static const std::vector<std::string> known{"08007", "40001", "57P03", "57014", "25P02", "22012", "57P01", "55P03", "3B001"};
  // A Parse that failed in a segment before it, which the client had not heard of.
  const bool unprepared = segment.error == "26000" && errors_ > segment.errors_before;
  // A BEGIN that failed in a segment before it.
  const bool outside = segment.error == "25P01" && errors_ > segment.errors_before;
  const bool two_phase = at < segment.operations.size() && is_two_phase(segment.operations[at].kind);
  if (two_phase) on_two_phase_error(segment.operations[at].kind, segment.error);
  ASSERT_TRUE(two_phase || unprepared || outside || std::ranges::find(known, segment.error) != known.end()) << "unexpected error " << segment.error;
  ++errors_;
  for (auto i = at; i < segment.operations.size(); ++i) {
    for (const int row : segment.operations[i].rows) believe(row, unknown ? Belief::unknown : Belief::never_ran);
    const auto kind = segment.operations[i].kind;
    if (unknown && kind == Kind::set) setting_ = setting_now_ = std::nullopt;
    if (unknown && (kind == Kind::listen || kind == Kind::unlisten)) listens_.reset();
  }
  if (!segment.simple) prepared_.clear();  // whether a Parse was done before the error is not known: closed and parsed anew
  if (savepoint_ && status == 'E' && !unknown && segment.error != "40001") return go_back();
  end_transaction(unknown ? Belief::unknown : Belief::never_ran);
}

}  // namespace holdfast::simulation
