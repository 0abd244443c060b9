// Any request, sent and lost, and then any replies to its repetition: what goes out is a request, each statement under one number,
// and what the client gets is an answer. Input: two bytes of length, the request's message, replies one behind the other.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/frame.hpp"
#include "proxy/mongo/operation_machine.hpp"

using namespace holdfast::proxy::mongo;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

bool is_whole(std::string_view document) {
  return wire::for_each(document, [](const wire::Element&) { return true; }) == wire::Walk::complete;
}

/// A part of a batch: as many numbers as statements, and each number means the same statement as before. A client may give two statements
/// one number.
void check_part(const operation_step::Send& sent, std::multimap<std::int64_t, std::string>& known) {
  require(is_whole(*sent.body));
  std::vector<std::int64_t> numbers;
  const auto list = wire::find(*sent.body, "stmtIds");
  require(list && wire::for_each(list->bytes, [&](const wire::Element& each) { return numbers.push_back(each.integer), true; }) == wire::Walk::complete);
  std::size_t at = 0;
  wire::for_each_document(*sent.statements, [&](std::string_view statement) {
    require(at < numbers.size() && numbers[at] >= 0);
    const auto [first, last] = known.equal_range(numbers[at++]);
    require(first == last || std::any_of(first, last, [&](const auto& each) { return each.second == statement; }));
  });
  require(at == numbers.size());
}

/// What each number means by the request itself.
std::multimap<std::int64_t, std::string> meanings(const wire::Message& request, const wire::Command& command) {
  std::vector<std::string> statements;
  const auto key = wire::statements_key(command.name);
  for (const auto& sequence : request.sequences) {
    if (sequence.name == key) wire::for_each_document(sequence, [&](std::string_view each) { statements.emplace_back(each); });
  }
  if (const auto list = wire::find(request.body, key)) {
    static_cast<void>(wire::for_each(list->bytes, [&](const wire::Element& each) { return statements.emplace_back(each.bytes), true; }));
  }
  std::vector<std::int64_t> numbers;
  if (const auto all = wire::find(request.body, "stmtIds")) {
    static_cast<void>(wire::for_each(all->bytes, [&](const wire::Element& each) { return numbers.push_back(each.integer), true; }));
  }
  const auto first = wire::find(request.body, "stmtId");
  std::multimap<std::int64_t, std::string> known;
  for (std::size_t i = 0; i < statements.size(); ++i) {
    const auto counted = (first ? first->integer : 0) + static_cast<std::int64_t>(i);
    known.emplace(i < numbers.size() ? numbers[i] : counted, statements[i]);
  }
  return known;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto length = std::min<std::size_t>(data[0] + 256U * data[1], size - 2);
  const auto frame = bytes.substr(2, length);
  auto replies = bytes.substr(2 + length);
  wire::Message request;
  if (wire::parse_message(frame, request) != wire::FrameError::none) return 0;
  const auto command = wire::read_command(request);
  auto known = meanings(request, command);
  OperationSettings settings;
  settings.deduplicates = true;
  OperationMachine machine(command, request, settings, {});
  const holdfast::proxy::SteadyTime now{std::chrono::hours(1)};
  static_cast<void>(machine.start(now));
  static_cast<void>(machine.on_member(now));
  auto step = machine.on_lost(OperationMachine::Written::yes, "reset", now);
  for (;;) {
    if (std::holds_alternative<operation_step::Select>(step)) step = machine.on_member(now);
    const auto* sent = std::get_if<operation_step::Send>(&step);
    if (sent == nullptr) break;
    if (sent->statements) check_part(*sent, known);
    const auto next = wire::document_length(replies);
    if (!next || *next > replies.size()) break;
    step = machine.on_reply(wire::read_reply(replies.substr(0, *next)), OperationMachine::Replier::current, now);
    replies.remove_prefix(*next);
  }
  if (const auto* told = std::get_if<operation_step::Forward>(&step); told != nullptr && told->body) {
    require(is_whole(*told->body) && wire::read_reply(*told->body).ok);
  }
  return 0;
}
