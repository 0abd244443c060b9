// What a session has set up on its backend and wants to find again on the next one: settings, channels, prepared
// statements of SQL, role. Also what no other backend can have. Records what has been confirmed; sends nothing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/postgres/text_scan.hpp"

namespace holdfast::postgres {

/// One statement that brings a part of the session back, to be run by the extended protocol in a segment of its own.
struct RestoreItem {
  enum class Kind { load, setting, prepared, channel, identity };
  Kind kind{};
  std::string name;  // of the setting, channel, statement, role: named where it fails
  std::string text;
  std::vector<std::string> parameters;
};

/// Why a session cannot be had again on another backend: a reason for metrics, a sentence for the client.
struct Pin {
  std::string reason;  // temporary_table, cursor, advisory_lock, sequence_value, random_seed, unconfirmed_state, …
  std::string what;
};

/// What a confirmed statement asks of the machine.
enum class StateEffect {
  none,
  snapshot_when_idle,  // it may have changed something; the next idle moment tells
  snapshot_now,        // it surely changed something to a value that is not known: before ReadyForQuery goes on
  snapshot_judged,     // the same, for it may have; where no snapshot comes to pass, its text is kept and can be judged
};

/// As SQL writes it, whatever is in it.
[[nodiscard]] std::string quote_identifier(std::string_view name);

class SessionState {
 public:
  /// `login` is the user that the session logged in as.
  explicit SessionState(std::string login = {}) : login_(std::move(login)) {}

  /// A statement was completed with `tag`. `in_transaction`: its effect may still be rolled back.
  enum class Where { outside_transaction, in_transaction };
  StateEffect on_completed(std::string_view text, const TextScan& scan, std::string_view tag, Where where);
  /// An EXECUTE of a statement that SQL has prepared was completed: what that does was done.
  StateEffect on_executed(std::string_view text);
  /// A statement whose text was too long to be kept was completed.
  StateEffect on_completed_without_text();

  /// A value that a set_config of the client's may take for the name of a custom setting.
  void note_setting_name(std::string_view name);

  /// The one query of the snapshot that begin_snapshot() has begun, and its parameters.
  [[nodiscard]] std::string snapshot_query() const;
  [[nodiscard]] std::vector<std::string> snapshot_parameters() const;
  [[nodiscard]] std::string dotted_names() const;
  /// Functions whose bodies have not been looked into yet for the names of custom settings.
  [[nodiscard]] std::string wanted_functions() const;
  /// A snapshot begins: rows follow, then end_snapshot. Nothing changes before that.
  void begin_snapshot();
  /// A row of the snapshot: kind, name, value.
  void on_snapshot_row(std::string_view kind, std::string_view name, std::string_view value);
  void end_snapshot();
  /// The bodies of functions that it brought name settings and functions that it did not ask for: only another one settles
  /// what was recorded.
  [[nodiscard]] bool snapshot_incomplete() const { return snapshot_incomplete_; }

  /// Something has been recorded that only a snapshot can settle.
  [[nodiscard]] bool snapshot_wanted() const { return snapshot_wanted_; }
  void want_snapshot() { snapshot_wanted_ = true; }

  /// What brings the session back, in the order in which it must run (role last).
  [[nodiscard]] std::vector<RestoreItem> restore_items() const;
  /// What makes the session impossible to restore; none when it can be.
  [[nodiscard]] std::optional<Pin> pin() const;
  /// The PREPARE that gave this name to a statement; empty where there is none.
  [[nodiscard]] std::string_view prepared(const std::string& name) const {
    const auto found = prepared_.find(name);
    return found == prepared_.end() ? std::string_view() : std::string_view(found->second);
  }
  /// Texts that may have touched the session since the last snapshot, for the judge at the loss.
  [[nodiscard]] const std::vector<std::string>& unconfirmed() const { return unconfirmed_; }

  [[nodiscard]] bool listening() const { return !channels_.empty(); }
  void forget_all();  // DISCARD ALL
  /// The client was told of what was lost: it is lost no longer.
  void forget_pins();
  /// What holds for the session's whole life, whatever it discards: its login cannot be made again.
  void pin_for_life(Pin pin) { life_pin_ = std::move(pin); }

 private:
  struct Setting {
    std::string text;
    bool is_statement = false;  // a SET as the client wrote it, else a value
  };
  struct Snapshot {
    std::map<std::string, Setting> settings;
    std::set<std::string> channels;
    std::map<std::string, std::string> prepared;
    std::string role, authorization;
    bool sees_all = true;  // the role: all settings
    std::vector<Pin> pins;
  };

  void remember(std::string_view text, const TextScan& scan);
  void note_settings(std::string_view text, const TextScan& scan);
  void note_local_settings(std::string_view text);
  void note_loads(std::string_view text);
  [[nodiscard]] bool holds_other_than_ascii() const;
  void take_prepared();
  void want_bodies(std::string_view text);
  void on_body(std::string_view function, std::string_view body);
  void take_names();
  StateEffect apply(std::string_view text, const TextScan& scan, std::string_view tag, Where where);

  std::string login_;
  std::map<std::string, Setting> settings_;
  std::set<std::string> channels_;
  std::vector<std::string> loads_;
  std::map<std::string, std::string> prepared_;  // SQL PREPARE: name to text
  std::string role_, authorization_;             // empty: as at login, or not known; a role of none is "none"
  std::set<std::string> dotted_;                 // custom settings named by the client, that were set or may have been since
  std::set<std::string> asked_;                  // those of the snapshot under way
  std::set<std::string> body_settings_;          // named in the bodies of functions
  std::size_t settings_asked_ = 0;               // of them, by the snapshot under way
  std::set<std::string> wanted_, looking_, looked_;  // functions: to be looked into, by the snapshot under way, since ever
  std::vector<Pin> pins_;                        // seen by the last snapshot, or since
  std::optional<Pin> lasting_pin_;               // what no snapshot sees and nothing but DISCARD ALL ends
  std::optional<Pin> life_pin_;
  std::vector<std::string> unconfirmed_;
  std::set<std::uint64_t> shapes_;
  bool overflowed_ = false;
  bool snapshot_wanted_ = false;
  bool snapshot_incomplete_ = false;
  Snapshot snapshot_;
};

}  // namespace holdfast::postgres
