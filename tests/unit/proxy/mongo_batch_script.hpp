// Batches as clients send them, and answers to them, in a line each.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocol/mongo/document.hpp"
#include "proxy/mongo/batch_repeat.hpp"

namespace holdfast::proxy::mongo {

/// A batch with (lsid, txnNumber); statement i is `{k: i}`, in a document sequence or in the body.
class Batch {
 public:
  Batch(std::string_view name, std::size_t count, bool sequence = true) : Batch(std::string(name), count, sequence, true, {}) {}
  [[nodiscard]] Batch unordered() const { return {name_, count_, sequence_, false, fields_}; }
  /// With the fields of this document, too.
  [[nodiscard]] Batch with(const std::string& fields) const { return {name_, count_, sequence_, ordered_, fields}; }

  wire::Message message;  // points into what copies share
  wire::Command command;

 private:
  struct Text {
    std::string body, statements;
  };
  Batch(std::string name, std::size_t count, bool sequence, bool ordered, std::string fields)
      : name_(std::move(name)), count_(count), sequence_(sequence), ordered_(ordered), fields_(std::move(fields)),
        text_(std::make_shared<Text>()) {
    wire::Writer writer, list;
    for (std::size_t i = 0; i < count; ++i) {
      const auto statement = wire::Writer().int32("k", static_cast<std::int32_t>(i)).int32("limit", 1).finish();
      list.document(std::to_string(i), statement);
      text_->statements += statement;
    }
    writer.text(name_, "things").document("lsid", wire::Writer().binary("id", "sixteen bytes...", 4).finish()).int64("txnNumber", 5);
    writer.document("writeConcern", wire::Writer().text("w", "majority").finish()).document("let", wire::Writer().int32("x", 1).finish());
    writer.boolean("ordered", ordered).text("$db", "shop");
    if (!fields_.empty()) {
      static_cast<void>(wire::for_each(fields_, [&](const wire::Element& field) { return writer.raw(field.raw), true; }));
    }
    const auto key = wire::statements_key(name_);
    if (!sequence) writer.array(key, list.finish());
    text_->body = writer.finish();
    message.body = text_->body;
    if (sequence) message.sequences.push_back({key, text_->statements});
    command = wire::read_command(message);
  }

  std::string name_;
  std::size_t count_;
  bool sequence_, ordered_;
  std::string fields_;
  std::shared_ptr<Text> text_;
};

/// `{n, writeErrors: [{index, code}, …], ok: 1}`.
inline std::string answer(int n, const std::vector<std::pair<int, int>>& errors = {}) {
  wire::Writer writer, list;
  for (std::size_t i = 0; i < errors.size(); ++i) {
    list.document(std::to_string(i), wire::Writer().int32("index", errors[i].first).int32("code", errors[i].second).finish());
  }
  writer.int32("n", n);
  if (!errors.empty()) writer.array("writeErrors", list.finish());
  return writer.real("ok", 1).finish();
}

/// (index, code) of each error.
inline std::vector<std::pair<int, int>> errors_of(std::string_view body) {
  std::vector<std::pair<int, int>> found;
  const auto errors = wire::find(body, "writeErrors");
  if (!errors) return found;
  static_cast<void>(wire::for_each(errors->bytes, [&](const wire::Element& each) {
    const auto index = wire::find(each.bytes, "index"), code = wire::find(each.bytes, "code");
    found.emplace_back(static_cast<int>(index->integer), static_cast<int>(code->integer));
    return true;
  }));
  return found;
}

/// The numbers under which a request asks for its statements.
inline std::vector<std::int64_t> numbers_of(std::string_view body) {
  std::vector<std::int64_t> found;
  static_cast<void>(wire::for_each(wire::find(body, "stmtIds")->bytes, [&](const wire::Element& each) { return found.push_back(each.integer), true; }));
  return found;
}

}  // namespace holdfast::proxy::mongo
