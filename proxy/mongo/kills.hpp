// Commands that concern several members: who is asked next, for what, and what the client is answered. Sans-io: replies in, the next
// question out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/mongo/several.hpp"

namespace holdfast::proxy::mongo {

namespace wire = holdfast::mongo;

/// One killCursors of cursors that lie apart: each member is sent its own, and the client gets one answer.
class CursorKills {
 public:
  using ByMember = std::map<std::optional<std::size_t>, std::vector<std::int64_t>>;
  CursorKills(std::string_view body, ByMember cursors) : body_(body), cursors_(std::move(cursors)), next_(cursors_.begin()) {}

  struct Question {
    std::optional<std::size_t> member;  // none: the primary, whoever that is
    std::string body;
  };
  /// None: the answer is there.
  [[nodiscard]] std::optional<Question> next() const;
  /// No reply: the member cannot be reached, or was lost meanwhile, and its cursors with it.
  void on_reply(const std::optional<std::string>& reply);
  /// There was no connection to be had: the cursors live on.
  void on_all_in_use();
  [[nodiscard]] std::string answer() const { return refusal_ ? *refusal_ : killed_.body(); }

 private:
  std::string_view body_;
  const ByMember cursors_;
  ByMember::const_iterator next_;
  wire::KilledCursors killed_;
  std::optional<std::string> refusal_;
};

/// killSessions and its kin: every member that serves is asked, as a mongos does, the primary at last. Whoever is the primary then is
/// asked once more, as for any command: the one that was it before would be asked by nobody.
class SessionKills {
 public:
  explicit SessionKills(std::vector<std::size_t> serving) : left_(std::move(serving)) {}

  /// `primary`: as far as that is known. None: all have been asked.
  [[nodiscard]] std::optional<std::size_t> next(std::optional<std::size_t> primary);
  /// No reply: the member cannot be reached, or was lost meanwhile. A body: the answer to the client, and the end of it.
  [[nodiscard]] static std::optional<std::string> on_reply(const std::optional<std::string>& reply, const std::string& name);

 private:
  std::vector<std::size_t> left_;
};

}  // namespace holdfast::proxy::mongo
