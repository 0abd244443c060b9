// A session and its ledger: is there one, what does the server say of a lost commit, and which of its rows can go. When a commit is
// recorded, and what is asked of it, is the machine's to say.
#include <spdlog/spdlog.h>

#include <utility>

#include "protocol/postgres/ledger.hpp"
#include "proxy/postgres/session.hpp"
#include "proxy/spawn.hpp"

namespace holdfast::proxy::postgres {

namespace {

constexpr auto ask_pause = std::chrono::milliseconds(50);
constexpr auto ledger_sweep_pause = std::chrono::hours(1);

SteadyTime now() { return std::chrono::steady_clock::now(); }

}  // namespace

/// Fences out the commit whose answer was lost, or learns that it was made. Before the session is restored, so that no
/// time limit of the client's holds here. It waits for the lost transaction, which may still be under way.
Task<Session::OutcomeAnswer> Session::ask_outcome(Backend& backend, SteadyTime deadline) {
  const auto question = machine_.commit_in_question();
  if (!question) co_return OutcomeAnswer::not_asked;
  // The client's transactions wrote where READ ONLY is only the default (before version 14 nobody says): ours do, too.
  if (value_of(machine_.parameters(), "default_transaction_read_only") != "off") {
    static_cast<void>(co_await query(backend, "SET default_transaction_read_only = off", {}, server_in_, deadline));
  }
  const auto answer = co_await ask_outcome_of(backend, *question, deadline);
  if (backend.stream->is_open()) {
    static_cast<void>(co_await query(backend, "RESET default_transaction_read_only", {}, server_in_, deadline));
  }
  co_return answer;
}

Task<Session::OutcomeAnswer> Session::ask_outcome_of(Backend& backend, const SessionMachine::OutcomeQuestion& question,
                                                     SteadyTime deadline) {
  bool in_progress = false, read_only = false;
  while (!closing_ && now() < deadline) {
    const auto rows =
        co_await query(backend, std::string(question.ask.text), question.ask.parameters, server_in_, deadline);
    if (!backend.stream->is_open() || closing_) co_return OutcomeAnswer::lost;
    if (rows && rows->size() == 1) {
      const auto answer = rows->front().at(0).value_or("");
      if (answer == "committed") co_return OutcomeAnswer::committed;
      if (answer == "fenced") co_return OutcomeAnswer::not_committed;
      if (answer == "unknown") co_return OutcomeAnswer::unknown;
      if (answer == "in_progress" && std::exchange(in_progress, true)) co_return OutcomeAnswer::not_committed;
      read_only = answer == "read_only";
    }
    SteadyTimer pause(executor_, ask_pause);  // it was in another transaction's way, or the role's time limit was too short
    co_await pause.async_wait(asio::as_tuple(use_task));
    if (read_only) co_return OutcomeAnswer::lost;  // another one may be the primary
  }
  co_return OutcomeAnswer::unknown;
}

/// A commit that was found is reported once one of the session's own behind it is acknowledged: only then is it as durable
/// as the client asked for. False: the backend was lost.
Task<bool> Session::tell_outcome(Backend& backend, OutcomeAnswer answer, SteadyTime deadline) {
  using Outcome = SessionMachine::Outcome;
  const auto question = machine_.commit_in_question();
  if (!question) co_return true;
  auto outcome = answer == OutcomeAnswer::not_committed ? Outcome::not_committed : Outcome::unknown;
  if (answer == OutcomeAnswer::committed) {
    const auto barrier =
        co_await query(backend, std::string(question->barrier.text), question->barrier.parameters, server_in_, deadline);
    if (!barrier) co_return false;
    outcome = Outcome::committed;
  }
  spdlog::info("{}: session {}: the commit whose answer was lost: {}", context_->config->id, id_,
               outcome == Outcome::committed       ? "committed"
               : outcome == Outcome::not_committed ? "not committed"
                                                   : "unknown");
  machine_.on_commit_judged(outcome);
  count_statistics();
  co_return true;
}

/// Where commits are to be recorded there is a ledger to record them in: else the client is told at its login.
Task<bool> Session::has_ledger(Backend& backend) {
  if (context_->config->exactly_once != config::ExactlyOnce::on || replication_) co_return true;
  const auto limit = now() + context_->config->reconnect.connection_timeout;
  const auto rows = co_await query(backend, std::string(pg::ledger_check()), {}, server_in_, limit);
  if (rows && rows->size() == 1 && rows->front().at(0) == "t") co_return true;
  spdlog::error("{}: exactly_once is on, and {} has no ledger in database {}: run `holdfast ledger` and give its output to psql",
                context_->config->id, backend.address.to_string(), database_);
  machine_.terminate("55000", "exactly_once is on, and this database has no ledger that this user can use: give the output of "
                              "`holdfast ledger` to psql");
  end_reason_ = "login";
  co_return false;
}

void Session::tidy_ledger_at(SteadyTime at) {
  if (context_->config->exactly_once != config::ExactlyOnce::on) return;
  const bool due = !context_->ledger_swept || at - *context_->ledger_swept >= ledger_sweep_pause;
  const bool writes = value_of(machine_.parameters(), "default_transaction_read_only") != "on";
  const bool sweep = due && writes && machine_.at_rest();
  if (sweep) context_->ledger_swept = at;
  if (sweep || machine_.ledger_forget_due()) spawn_named(executor_, tidy_ledger(sweep), "ledger", shared_from_this());
}

/// Removes rows that nobody needs: the session's own, or `sweep`, what is a day old.
Task<> Session::tidy_ledger(bool sweep) {
  if (!machine_.at_rest() || server_write_.held()) co_return;
  sweep ? machine_.begin_ledger_sweep() : machine_.begin_ledger_forget();
  if (!write_server_now({})) co_await write_server({}, Sender::holdfast);
}

}  // namespace holdfast::proxy::postgres
