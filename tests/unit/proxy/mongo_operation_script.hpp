// Drives an operation machine event by event, with commands and replies written in a line each.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/mongo/document.hpp"
#include "proxy/mongo/operation_machine.hpp"

namespace holdfast::proxy::mongo {

using namespace std::chrono_literals;
using Kind = wire::CommandKind;
using Machine = OperationMachine;

inline std::string reply_body(int code, const std::vector<std::string>& labels = {}) {
  wire::Writer writer, list;
  if (code == 0) return writer.int32("n", 1).real("ok", 1).finish();
  for (std::size_t i = 0; i < labels.size(); ++i) list.text(std::to_string(i), labels[i]);
  return writer.real("ok", 0).text("errmsg", "said the member").int32("code", code).array("errorLabels", list.finish()).finish();
}

/// With this member, and nothing more is known.
inline Places::Place at(std::size_t member) {
  Places::Place place;
  place.member = member;
  return place;
}

class Script {
 public:
  explicit Script(wire::Command with, Places::Place place = {}, OperationSettings with_settings = defaults())
      : command(std::move(with)), body(wire::Writer().text("command", "c").int32("maxTimeMS", 10'000).finish()), request{{}, 0, body, {}, {}},
        settings(with_settings), machine(command, request, settings, place) {}
  /// As a client sends it.
  explicit Script(const wire::Message& message, wire::Command with, OperationSettings with_settings = defaults())
      : command(std::move(with)), request(message), settings(with_settings), machine(command, request, settings, {}) {}
  Script(const Script&) = delete;
  Script& operator=(const Script&) = delete;

  static OperationSettings defaults() {
    OperationSettings settings;
    settings.deduplicates = true;
    return settings;
  }

  Script& start() { return next(machine.start(now)); }
  Script& member() { return next(machine.on_member(now)); }
  /// A connection to one that executes again what it has executed.
  Script& forgetful_member() {
    machine.note_server(false);
    return member();
  }
  Script& refused(RefusalReason reason = RefusalReason::hold_timeout) { return next(machine.on_refused(reason, "no primary", now)); }
  Script& unreachable() { return next(machine.on_unreachable("refused", now)); }
  Script& lost() { return next(machine.on_lost(Machine::Written::yes, "reset", now)); }
  Script& unsent() { return next(machine.on_lost(Machine::Written::no, "reset", now)); }
  Script& reply(int code, const std::vector<std::string>& labels = {}) { return reply_with(reply_body(code, labels)); }
  Script& reply_with(std::string text, Machine::Replier replier = Machine::Replier::current) {
    last_reply = std::move(text);
    return next(machine.on_reply(wire::read_reply(last_reply), replier, now));
  }
  Script& wait(milliseconds time) {
    now += time;
    return *this;
  }

  [[nodiscard]] bool selects() const { return std::holds_alternative<operation_step::Select>(step); }
  [[nodiscard]] bool asks_first() const { return selects() && std::get<operation_step::Select>(step).ask_first; }
  [[nodiscard]] bool sends() const { return std::holds_alternative<operation_step::Send>(step); }
  [[nodiscard]] bool forwards() const { return std::holds_alternative<operation_step::Forward>(step); }
  [[nodiscard]] bool answers() const { return std::holds_alternative<operation_step::Answer>(step); }
  [[nodiscard]] std::optional<std::size_t> uses() const {
    const auto* use = std::get_if<operation_step::Use>(&step);
    return use == nullptr ? std::nullopt : std::optional(use->member);
  }
  [[nodiscard]] const operation_step::Answer& answer() const { return std::get<operation_step::Answer>(step); }
  /// Of the answer; 0 for one that says ok, -1 where there is none.
  [[nodiscard]] int code() const { return answers() ? wire::read_reply(answer().body).code : -1; }
  [[nodiscard]] std::vector<std::string> labels() const {
    std::vector<std::string> found;
    const auto list = wire::find(answer().body, "errorLabels");
    if (list) {
      static_cast<void>(wire::for_each(list->bytes, [&](const wire::Element& each) { return found.emplace_back(each.bytes), true; }));
    }
    return found;
  }
  [[nodiscard]] std::string message() const { return std::string(wire::find(answer().body, "errmsg")->bytes); }

  wire::Command command;
  std::string body;
  wire::Message request;
  OperationSettings settings;
  SteadyTime now{std::chrono::hours(1)};
  OperationMachine machine;
  OperationStep step;
  std::string last_reply;

 private:
  Script& next(OperationStep to) {
    step = std::move(to);
    return *this;
  }
};

inline wire::Command command_of(Kind kind) {
  wire::Command command;
  command.kind = kind;
  command.statements = kind == Kind::write ? 1 : 0;
  return command;
}

/// A write of one document a statement, with the client's own (lsid, txnNumber).
inline wire::Command numbered_write(std::size_t statements = 1) {
  auto command = command_of(Kind::write);
  command.session = "session";
  command.transaction_number = 5;
  command.statements = statements;
  return command;
}

inline wire::Command in_transaction(Kind kind, bool starts = false) {
  auto command = command_of(kind);
  command.session = "session";
  command.transaction_number = 6;
  command.in_transaction = true;
  command.starts_transaction = starts;
  return command;
}

}  // namespace holdfast::proxy::mongo
