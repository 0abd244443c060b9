// Halves, and puts together again.
#include "proxy/mongo/batch_repeat.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "proxy/mutation.hpp"

namespace holdfast::proxy::mongo {

using wire::Element;
using wire::Kind;
using wire::Walk;
using wire::Writer;

namespace {

/// Servers leave out the texts of errors beyond as much: a reply is one document.
constexpr std::size_t messages_size_max = 1'000'000;

/// What an answer that is put together has of its own.
constexpr std::array merged_fields{"n", "writeErrors", "writeConcernError", "retriedStmtIds"};

/// Before 5.0 a document that no collection could take gets no number in its batch, and those behind it get the one before theirs. It fails
/// with neither of these codes.
bool may_shift_numbers(const wire::Command& command, const wire::Reply& whole) {
  if (command.ordered || whole.write_errors == 0) return false;
  const auto errors = wire::find(whole.body, "writeErrors");
  bool only_known = true;
  static_cast<void>(wire::for_each(errors->bytes, [&](const Element& each) {
    const auto code = wire::find(each.bytes, "code");
    only_known = code && (code->integer == wire::code::duplicate_key || code->integer == wire::code::document_validation);
    return only_known;
  }));
  return !only_known;
}

}  // namespace

std::optional<BatchRepeat> BatchRepeat::begin(const wire::Message& request, const wire::Command& command, const wire::Reply& whole) {
  // An update that has matched nothing would be executed behind those that come after it.
  if (command.name != "insert" || !wire::is_deduplicated(command) || command.statements < 2) return std::nullopt;
  if (may_shift_numbers(command, whole) && !broken("shifted_numbers")) return std::nullopt;
  BatchRepeat made(request, command);
  if (!made.read_statements() || !made.read_numbers()) return std::nullopt;
  const auto half = command.statements / 2;
  made.left_ = {{half, command.statements}, {0, half}};
  return made;
}

std::string_view BatchRepeat::statements() const { return request_->sequences.empty() ? copied_ : request_->sequences.front().documents; }

/// They come in a sequence, or in an array of the body.
bool BatchRepeat::read_statements() {
  const auto key = wire::statements_key(command_->name);
  const auto list = wire::find(request_->body, key);
  std::size_t end = 0;
  const auto add = [&](std::string_view statement) {
    starts_.push_back(end);
    end += statement.size();
  };
  if (list) {
    if (!request_->sequences.empty() || list->kind != Kind::array) return false;
    static_cast<void>(wire::for_each(list->bytes, [&](const Element& each) {
      if (each.kind != Kind::document) return false;
      copied_ += each.bytes;
      add(each.bytes);
      return true;
    }));
  } else {
    if (request_->sequences.size() != 1 || request_->sequences.front().name != key) return false;
    wire::for_each_document(request_->sequences.front(), add);
  }
  starts_.push_back(end);
  return starts_.size() == command_->statements + 1;
}

/// As servers number them: by `stmtIds`, or counting from `stmtId`, or from 0.
bool BatchRepeat::read_numbers() {
  constexpr auto max = std::numeric_limits<std::int32_t>::max();
  bool whole = true;
  const auto add = [&](const Element& number) {
    whole = whole && number.whole && number.integer >= 0 && number.integer <= max;
    if (whole) numbers_.push_back(static_cast<std::int32_t>(number.integer));
    return whole;
  };
  if (const auto all = wire::find(request_->body, "stmtIds")) {
    if (all->kind != Kind::array) return false;
    static_cast<void>(wire::for_each(all->bytes, add));
  } else {
    const auto first = wire::find(request_->body, "stmtId");
    if (first && !add(*first)) return false;
    auto next = static_cast<std::int64_t>(numbers_.empty() ? 0 : numbers_.front());
    if (next + static_cast<std::int64_t>(command_->statements) > max) return false;
    numbers_.clear();
    while (numbers_.size() < command_->statements) numbers_.push_back(static_cast<std::int32_t>(next++));
  }
  return whole && numbers_.size() == command_->statements;
}

BatchRepeat::Part BatchRepeat::part() const {
  const auto& range = left_.back();
  const auto key = wire::statements_key(command_->name);
  Writer writer, numbers;
  static_cast<void>(wire::for_each(request_->body, [&](const Element& field) {
    const bool replaced = field.key == key || field.key == "stmtId" || field.key == "stmtIds";
    // The numbers are in no version of the Stable API.
    if (!replaced && field.key != "apiStrict") writer.raw(field.raw);
    return true;
  }));
  for (auto i = range.first; i < range.last; ++i) {
    const auto place = i - range.first;
    numbers.int32(std::to_string(place), numbers_[broken("own_numbers") ? place : i]);
  }
  writer.array("stmtIds", numbers.finish());
  const auto from = starts_[range.first];
  return {writer.finish(), {key, statements().substr(from, starts_[range.last] - from)}};
}

BatchRepeat::Heard BatchRepeat::on_reply(const wire::Reply& reply) {
  const auto range = left_.back();
  if (!reply.ok) return Heard::unclear;
  if (!wire::accounts_for(*command_, range.count(), reply) && !broken("accounts_for_part")) {
    if (range.count() == 1) return Heard::unclear;
    const auto middle = range.first + range.count() / 2;
    left_.back().first = middle;
    left_.push_back({range.first, middle});
    return Heard::more;
  }
  left_.pop_back();
  if (!add(range, reply)) return Heard::unclear;
  if (command_->ordered && reply.write_errors > 0) left_.clear();
  return left_.empty() ? Heard::all : Heard::more;
}

/// Takes over what the reply to a part says of its statements. False where that cannot be.
bool BatchRepeat::add(const Range& range, const wire::Reply& reply) {
  bool sound = true;
  n_ += reply.n;
  last_ = reply.body;
  static_cast<void>(wire::for_each(reply.body, [&](const Element& field) {
    if (field.key == "writeConcernError") concern_ = field.raw;
    if (field.key == "writeErrors") sound = sound && add_errors(range, field.bytes);
    return true;
  }));
  return sound;
}

/// Documents with an `index`, which counts from the first statement of the part there and from that of the batch here.
bool BatchRepeat::add_errors(const Range& range, std::string_view array) {
  bool sound = true;
  const auto walk = wire::for_each(array, [&](const Element& each) {
    Writer writer;
    bool placed = false;
    static_cast<void>(wire::for_each(each.bytes, [&](const Element& field) {
      if (field.key == "index") {
        placed = field.whole && field.integer >= 0 && static_cast<std::size_t>(field.integer) < range.count();
        writer.int32("index", static_cast<std::int32_t>(range.first + (placed ? static_cast<std::size_t>(field.integer) : 0)));
      } else if (field.key == "errmsg") {
        messages_size_ += field.bytes.size();
        messages_size_ < messages_size_max ? writer.raw(field.raw) : writer.text("errmsg", "");
      } else {
        writer.raw(field.raw);
      }
      return true;
    }));
    errors_.document(std::to_string(error_count_++), writer.finish());
    sound = sound && placed;
    return sound;
  });
  return sound && walk == Walk::complete;
}

std::string BatchRepeat::take_answer() {
  Writer writer;
  writer.int32("n", static_cast<std::int32_t>(n_));
  if (error_count_ > 0) writer.array("writeErrors", errors_.finish());
  writer.raw(concern_);
  static_cast<void>(wire::for_each(last_, [&](const Element& field) {
    if (std::ranges::find(merged_fields, field.key) == merged_fields.end()) writer.raw(field.raw);
    return true;
  }));
  return writer.finish();
}

}  // namespace holdfast::proxy::mongo
