// Finds out what became of each document of an interrupted insert of several. Sans-io: a request out, its reply in, the whole answer at the end.
// It decides neither whether a reply is believed nor when a request goes out; that is the operation machine's.
//
// A server answers an insert that is sent again from its history, and that answer then and now leaves out what failed the first
// time. So the batch is halved, and each half is asked for under the numbers that its statements have in the whole (`stmtIds`),
// until each answer says of every statement of its part what became of it. A statement that has been executed is not executed
// again; one that has not been is executed now.
//
//   0 ─────────────── 8     leaves something out
//   0 ───── 4               accounts for all
//           4 ───── 8       leaves something out
//           4 ─ 6 ─ 8       and so on; an ordered batch ends at its first error
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/mongo/command.hpp"
#include "protocol/mongo/document.hpp"
#include "protocol/mongo/reply.hpp"

namespace holdfast::proxy::mongo {

namespace wire = holdfast::mongo;

class BatchRepeat {
 public:
  /// `whole`: the answer that leaves something out. None where the documents cannot be asked for one by one: it is no insert of
  /// several that the server deduplicates, or their numbers are not known. `request` and `command` outlive this.
  [[nodiscard]] static std::optional<BatchRepeat> begin(const wire::Message& request, const wire::Command& command,
                                                        const wire::Reply& whole);

  /// The next request: its body, and its statements as a document sequence. Valid until the next call of on_reply.
  struct Part {
    std::string body;
    wire::Sequence statements;
  };
  [[nodiscard]] Part part() const;

  enum class Heard {
    more,     // there is a next request
    all,      // the whole answer is there
    unclear,  // the reply is none that a server gives
  };
  /// A reply to the present part that is believed.
  [[nodiscard]] Heard on_reply(const wire::Reply& reply);

  /// The answer to the batch, after `all`, once: counts and errors of all parts, everything else of the last.
  [[nodiscard]] std::string take_answer();

 private:
  struct Range {
    std::size_t first = 0, last = 0;  // one behind the last statement
    [[nodiscard]] std::size_t count() const { return last - first; }
  };
  BatchRepeat(const wire::Message& request, const wire::Command& command) : request_(&request), command_(&command) {}
  [[nodiscard]] bool read_statements();
  [[nodiscard]] bool read_numbers();
  [[nodiscard]] std::string_view statements() const;
  [[nodiscard]] bool add(const Range& range, const wire::Reply& reply);
  [[nodiscard]] bool add_errors(const Range& range, std::string_view array);

  const wire::Message* request_;
  const wire::Command* command_;
  std::string copied_;                  // the statements of an array in the body, one behind the other
  std::vector<std::size_t> starts_;     // where each statement begins, and where the last one ends
  std::vector<std::int32_t> numbers_;   // of each statement, to the server
  std::vector<Range> left_;             // to be asked for, the next one last
  std::int64_t n_ = 0;
  wire::Writer errors_;
  std::size_t error_count_ = 0, messages_size_ = 0;
  std::string concern_, last_;          // writeConcernError as an element; the last reply
};

}  // namespace holdfast::proxy::mongo
