// Decides for one command of a client: where it is sent, whether it is sent again, and what its client is answered.
// Sans-io: what happened and the time in, the next step out. It knows members by their number only.
//
//   start ──► select ──► send ──► forward            a reply that is believed
//               ▲          │
//               │      ▲   │
//               │      └───┤ the next part of a batch that was interrupted
//               └──────────┤ not sent, not executed, or the same bytes may be sent again
//                          └────► answer             an error of ours: the outcome is unknown, or the wait is over
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "protocol/mongo/command.hpp"
#include "protocol/mongo/reply.hpp"
#include "proxy/mongo/batch_repeat.hpp"
#include "proxy/mongo/places.hpp"
#include "proxy/mongo/pool_book.hpp"
#include "proxy/upstream_machine.hpp"

namespace holdfast::proxy::mongo {

namespace wire = holdfast::mongo;

struct OperationSettings {
  milliseconds hold_timeout{30'000};
  bool replays = true;        // `replay: on`
  bool deduplicates = false;  // the upstream knows (lsid, txnNumber) again
  bool sharded = false;       // a mongos answers: a refusal may be one shard's, and others may have executed it
  bool paused = false;        // what begins waits at the gate
  bool backpressure = false;  // the client retries by itself what is answered as overloaded
  milliseconds memory{std::chrono::minutes(15)};  // so long it surely does so
};

namespace operation_step {
/// A connection to the primary is wanted, by `deadline`. With `ask_first` the member that was the primary a moment ago may
/// be none any more: it is asked before it is believed. Then on_member, or on_refused.
struct Select { SteadyTime deadline; bool ask_first; };
/// A connection to this very member. Then on_member, or on_unreachable, or on_refused where there is none to be had in time.
struct Use { std::size_t member; SteadyTime deadline; };
/// The request goes out, over the connection that is at hand: with this body, and these statements in place of its sequences, where
/// there are any, else as the client wrote it. Then on_reply, or on_lost.
struct Send { std::optional<std::string> body; std::optional<wire::Sequence> statements; };
/// The client gets the reply: as it came, or with this body in its place.
struct Forward { std::optional<std::string> body; };
/// The client gets this body; w: 0 gets nothing.
struct Answer {
  std::string body;
  bool abort = false;    // the transaction is to be ended where it may still be open
  bool unknown = false;  // whether it was executed nobody knows
};
}  // namespace operation_step
using OperationStep = std::variant<operation_step::Select, operation_step::Use, operation_step::Send, operation_step::Forward,
                                   operation_step::Answer>;

class OperationMachine {
 public:
  /// `place`: where the command's cursor or transaction is. `command` and `request` outlive this.
  OperationMachine(const wire::Command& command, const wire::Message& request, OperationSettings settings, Places::Place place);

  [[nodiscard]] OperationStep start(SteadyTime now);
  /// How many connections there may be for this command to have one.
  [[nodiscard]] PoolBook::Room room() const;
  /// Before on_member: does the server at hand know (lsid, txnNumber) again?
  void note_server(bool deduplicates);
  [[nodiscard]] OperationStep on_member(SteadyTime now);
  [[nodiscard]] OperationStep on_refused(RefusalReason reason, const std::string& message, SteadyTime now);
  [[nodiscard]] OperationStep on_unreachable(const std::string& message, SteadyTime now);
  enum class Written { no, yes };
  /// The connection is gone, before or after all of the request was written.
  [[nodiscard]] OperationStep on_lost(Written written, const std::string& message, SteadyTime now);
  enum class Replier { current, replaced, logged_out };
  /// `replaced`: another primary has taken the place of the one that answers. `logged_out`: it has ended the login of the connection, which
  /// the command came too late for.
  [[nodiscard]] OperationStep on_reply(const wire::Reply& reply, Replier replier, SteadyTime now);

  /// How often the request has been sent.
  [[nodiscard]] unsigned sends() const { return sends_; }
  /// Nothing of it was executed that counts: its client may repeat it by itself once it has logged in again.
  [[nodiscard]] bool may_begin_anew() const;
  /// Whoever asked for it and has left gets nothing of it any more: a read, or what is left of one.
  [[nodiscard]] bool may_be_cut() const {
    return command_.kind == wire::CommandKind::read || command_.kind == wire::CommandKind::get_more;
  }

 private:
  [[nodiscard]] bool is_statement_of_transaction() const;
  [[nodiscard]] bool ends_transaction() const;
  [[nodiscard]] bool ends_sessions() const;
  [[nodiscard]] bool is_told_unknown() const;
  [[nodiscard]] bool needs_memory() const;
  [[nodiscard]] bool is_bound() const;
  [[nodiscard]] bool may_repeat() const;
  [[nodiscard]] bool may_be_seen(const wire::Reply& reply) const;
  [[nodiscard]] OperationStep again(SteadyTime now);
  [[nodiscard]] OperationStep over_another(SteadyTime now);
  [[nodiscard]] OperationStep on_unknown(SteadyTime now);
  [[nodiscard]] OperationStep kill_again(SteadyTime now);
  [[nodiscard]] OperationStep on_not_executed(SteadyTime now);
  [[nodiscard]] OperationStep on_believed(const wire::Reply& reply, SteadyTime now);
  [[nodiscard]] OperationStep on_part(const wire::Reply& reply, SteadyTime now);
  [[nodiscard]] OperationStep give_up();
  [[nodiscard]] OperationStep transaction_over(const std::string& message) const;
  [[nodiscard]] OperationStep transaction_lost() const;
  [[nodiscard]] OperationStep cursor_lost() const;
  [[nodiscard]] OperationStep operation_gone() const;
  [[nodiscard]] OperationStep outcome_unknown() const;
  [[nodiscard]] operation_step::Answer error(int code, const std::string& message,
                                             std::initializer_list<std::string_view> labels = {}) const;
  [[nodiscard]] operation_step::Answer unknown(const std::string& message, std::initializer_list<std::string_view> labels = {}) const;
  void trouble(SteadyTime now);

  const wire::Command& command_;
  const wire::Message& request_;
  OperationSettings settings_;
  Places::Place place_;
  SteadyTime started_{};
  SteadyTime deadline_{};               // of the present wait
  std::optional<SteadyTime> time_limit_;  // by maxTimeMS
  std::optional<SteadyTime> first_sent_;
  bool troubled_ = false;               // something has gone wrong at least once
  bool unknown_ = false;                // a send may have been executed
  bool used_twice_ = false;             // a pinned member was connected to anew once
  bool logged_out_ = false;             // a connection was, once
  unsigned sends_ = 0;
  std::optional<BatchRepeat> batch_;    // once it is asked for by its statements
  std::string reason_;                  // of the last trouble, for the client's error
};

}  // namespace holdfast::proxy::mongo
