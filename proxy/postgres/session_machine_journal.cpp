// What the journal keeps of a client's transaction: noted as it is answered, cut where what was sent is of no more use, and
// judged after a loss.
#include <algorithm>
#include <functional>
#include <unordered_set>
#include <utility>

#include "protocol/postgres/builtin_functions.hpp"
#include "proxy/mutation.hpp"
#include "proxy/postgres/replay_judge.hpp"
#include "proxy/postgres/segment_effects.hpp"
#include "proxy/postgres/session_machine.hpp"

namespace holdfast::proxy::postgres {

namespace front = pg::frontend;

namespace {

using Control = pg::TransactionControl;

/// Errors that come of the moment, and not of the statement: a time limit, a cancel request, somebody else's lock.
bool is_of_the_moment(std::string_view code) { return code == "57014" || code == "55P03" || code == "40P01"; }

/// It may set what BEGIN begins with, or ends the block that it stands in.
bool may_change_the_next(const pg::StatementJudgement& statement) {
  const bool sets = statement.effect == pg::StatementEffect::session || statement.effect == pg::StatementEffect::procedure;
  const bool inside = statement.control == Control::none || statement.control == Control::savepoint ||
                      statement.control == Control::release || statement.control == Control::rollback_to;
  return sets || !inside || std::ranges::any_of(statement.functions, [](const auto& function) {
           return pg::builtin_effect(function.name) == pg::BuiltinEffect::setting;
         });
}

bool is_only(const pg::TextJudgement& text, std::initializer_list<Control> controls) {
  return text.statements.size() == 1 && std::ranges::find(controls, text.statements[0].control) != controls.end();
}

}  // namespace

// ---- as it is answered ----

/// The client was given all of a segment.
void SessionMachine::note_answered(std::uint64_t request, char status) {
  digest_.add({&status, 1});
  const auto given = digest_.mark();
  digest_.reset();
  if (replay_ && replay_->entry == journal_.size()) finish_replay();
  const auto notes = std::exchange(segment_notes_, {});
  if (status != 'I') {
    journal_.on_answered(request, given);
    return cut_journal(request, status, notes);
  }
  failed_at_.reset();
  const bool at_rest = tracker_.empty() && !tracker_.segment_open() && client_stream_left_ == 0;
  if (at_rest && !replay_) return forget_journal();
  // A second run that is not at its end counts on its places.
  replay_ ? journal_.on_answered(request, given) : journal_.drop_through(request);
}

void SessionMachine::forget_journal() {
  journal_.clear();
  digest_.reset();
  replayed_ = reads_proven_ = false;
  segment_notes_ = {};
  failed_at_.reset();
}

/// An error of the server's goes to the client.
void SessionMachine::note_error(std::string_view code) {
  digest_.add_error(code);
  segment_notes_.of_the_moment = !segment_notes_.gave && is_of_the_moment(code);
}

// ---- where it is cut ----

/// The segment that ends with `request` was answered, in a transaction that goes on. `status_` is still that of before.
void SessionMachine::cut_journal(std::uint64_t request, char status, SegmentNotes notes) {
  // A second run counts on the journal's places.
  if (replay_ || journal_.overflowed()) return;
  if (status == 'E') {
    if (status_ == 'T' && notes.of_the_moment) failed_at_ = request;
    if (status_ == 'E' && notes.gave) failed_at_.reset();  // what the client has seen since is to be compared
    return;
  }
  if (const auto failed = std::exchange(failed_at_, std::nullopt); failed && status_ == 'E') {
    // It went back to a savepoint: the server has nothing left of what failed, and the client has seen nothing of it. Run
    // again it would not fail.
    cut_out({journal_.segment(*failed).begin, journal_.segment(request).begin});
  }
  if (notes.chained) cut_chained(request);
}

/// AND CHAIN: another transaction of the same characteristics, to which nothing of the last one matters but its BEGIN.
void SessionMachine::cut_chained(std::uint64_t request) {
  const auto chain = journal_.segment(request);
  std::size_t begun = 0;
  while (begun < chain.begin && !journal_[begun].answered) ++begun;
  if (begun == chain.begin) return;
  ++begun;
  bool same = true;
  each_text([&](std::size_t index, const pg::JournalEntry&, std::optional<std::string_view> text) {
    if (index >= chain.end || !same) return;
    const auto judged = text ? judge_run({statements_, session_}, *text, pg::scan_text(*text).kind) : pg::TextJudgement{};
    if (index < begun) {
      same = is_only(judged, {Control::begin});
    } else if (index >= chain.begin) {
      same = is_only(judged, {Control::commit_chain, Control::rollback_chain});
    } else {
      same = judged.parsed && std::ranges::none_of(judged.statements, may_change_the_next);
    }
  });
  if (!same) return;
  cut_out({begun, chain.end});
  replayed_ = false;
}

void SessionMachine::cut_out(pg::Journal::Extent extent) {
  if (extent.begin >= extent.end) return;
  std::vector<std::uint64_t> requests;
  for (auto i = extent.begin; i < extent.end; ++i) requests.push_back(journal_[i].request);
  // What was prepared there is there still: it is parsed again where it is used, as what was prepared before the journal.
  const auto prepared = [&](std::string_view, pg::StatementId id) {
    if (id != pg::no_statement && std::ranges::find(requests, statements_[id].born) != requests.end()) statements_[id].born = 0;
  };
  statements_.each_name(prepared);
  prepared({}, statements_.find({}));
  journal_.cut(extent.begin, extent.end);
}

// ---- after a loss ----

/// Calls `visit(index, entry, text)` for each text that stands in the journal; without a text for a function call, and for what
/// ran under a name that means something else by now, or nothing.
void SessionMachine::each_text(
    const std::function<void(std::size_t, const pg::JournalEntry&, std::optional<std::string_view>)>& visit_any) const {
  const auto visit = [&](std::size_t index, const pg::JournalEntry& entry, std::optional<std::string_view> text) {
    const bool given_since = text && runs_under_a_name_given_since(statements_, *text, pg::scan_text(*text).kind, entry.request);
    visit_any(index, entry, given_since ? std::nullopt : text);
  };
  std::unordered_set<std::string_view> parsed;  // their texts are visited where they were parsed
  journal_.each([&](std::size_t index, const pg::JournalEntry& entry, std::string_view message) {
    const auto body = message.size() < pg::header_size ? message : message.substr(pg::header_size);
    if (entry.type == front::query) {
      pg::Reader reader(body);
      visit(index, entry, reader.cstring());
    } else if (entry.type == front::parse) {
      const auto parse = pg::parse_parse(body);
      if (!parse) return;
      parsed.insert(parse->name);
      visit(index, entry, parse->text);
    } else if (entry.type == front::bind) {
      const auto bind = pg::parse_bind(body);
      const auto id = bind ? statements_.find(bind->statement) : pg::no_statement;
      const bool before = id != pg::no_statement && statements_[id].has_text() && statements_[id].born < journal_.first_request();
      if (before) return visit(index, entry, statements_[id].text());
      if (!bind || !parsed.contains(bind->statement)) visit(index, entry, std::nullopt);
    } else if (entry.type == front::function_call) {
      visit(index, entry, std::nullopt);
    }
  });
}

/// The texts of before the request `under_way`, each judged once.
SessionMachine::JournalJudgement SessionMachine::judge_journal(std::uint64_t under_way) const {
  JournalJudgement found;
  auto& obstacle = found.obstacle;
  std::unordered_set<std::string_view> seen;
  each_text([&](std::size_t, const pg::JournalEntry& entry, std::optional<std::string_view> text) {
    if (entry.request != pg::JournalEntry::no_request && entry.request >= under_way) return;
    if (!text) obstacle = entry.type == front::function_call ? "function_call" : "prepared_statement";
    if (obstacle.empty() && seen.insert(*text).second) {
      const auto judged = judge_run({statements_, session_}, *text, pg::scan_text(*text).kind);
      obstacle = obstacle_in(judged, found.savepoint);
      for (const auto& statement : judged.statements) {
        const bool sets_up = statement.control != Control::none || only_sets_up(statement);
        found.only_reads = found.only_reads && (sets_up || statement.reads_only);
        if (!sets_up) found.reads.push_back(statement);
      }
    }
    if (obstacle == "transaction_control" && broken("transaction_control")) obstacle = {};
  });
  return found;
}

}  // namespace holdfast::proxy::postgres
