// Lists inside of bodies, taken apart and put together.
#include "protocol/mongo/several.hpp"

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/reply.hpp"

namespace holdfast::mongo {

namespace {

std::string array_of(const std::vector<std::int64_t>& numbers) {
  Writer writer;
  std::size_t index = 0;
  for (const auto each : numbers) writer.int64(std::to_string(index++), each);
  return writer.finish();
}

constexpr char uuid = 4;

}  // namespace

std::string body_of_kill_cursors(std::string_view body, const std::vector<std::int64_t>& cursors) {
  Writer writer;
  static_cast<void>(for_each(body, [&](const Element& field) {
    field.key == "cursors" ? writer.array("cursors", array_of(cursors)) : writer.raw(field.raw);
    return true;
  }));
  return writer.finish();
}

bool KilledCursors::add(std::string_view reply) {
  if (!read_reply(reply).ok) return false;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto list = find(reply, keys[i]);
    if (!list || list->kind != Kind::array) continue;
    static_cast<void>(for_each(list->bytes, [&](const Element& each) {
      found_[i].push_back(each.integer);
      return true;
    }));
  }
  return true;
}

void KilledCursors::add_missing(const std::vector<std::int64_t>& cursors) {
  found_[1].insert(found_[1].end(), cursors.begin(), cursors.end());
}

void KilledCursors::add_alive(const std::vector<std::int64_t>& cursors) {
  found_[2].insert(found_[2].end(), cursors.begin(), cursors.end());
}

std::string KilledCursors::body() const {
  Writer writer;
  for (std::size_t i = 0; i < keys.size(); ++i) writer.array(keys[i], array_of(found_[i]));
  return writer.real("ok", 1).finish();
}

std::vector<std::string> sessions_to_kill(std::string_view body) {
  std::vector<std::string> ids;
  const auto list = find(body, "killSessions");
  if (!list || list->kind != Kind::array) return ids;
  static_cast<void>(for_each(list->bytes, [&](const Element& each) {
    const auto id = each.kind == Kind::document ? find(each.bytes, "id") : std::nullopt;
    if (id && id->kind == Kind::binary) ids.emplace_back(id->bytes);
    return true;
  }));
  return ids;
}

std::string body_with_sessions(std::string_view body, const std::vector<std::string>& sessions) {
  Writer writer;
  static_cast<void>(for_each(body, [&](const Element& field) {
    if (field.key != "killSessions") {
      writer.raw(field.raw);
      return true;
    }
    Writer list;
    std::size_t index = 0;
    static_cast<void>(for_each(field.bytes, [&](const Element& each) {
      list.raw(each.raw);
      ++index;
      return true;
    }));
    for (const auto& id : sessions) list.document(std::to_string(index++), Writer().binary("id", id, uuid).finish());
    writer.array(field.key, list.finish());
    return true;
  }));
  return writer.finish();
}

std::vector<std::int64_t> operations_in(std::string_view reply) {
  std::vector<std::int64_t> numbers;
  const auto note = [&](const std::optional<Element>& list) {
    if (!list || list->kind != Kind::array) return;
    static_cast<void>(for_each(list->bytes, [&](const Element& each) {
      const auto number = each.kind == Kind::document ? find(each.bytes, "opid") : std::nullopt;
      if (number && number->whole) numbers.push_back(number->integer);
      return true;
    }));
  };
  note(find(reply, "inprog"));
  if (const auto cursor = find(reply, "cursor"); cursor && cursor->kind == Kind::document) {
    note(find(cursor->bytes, "firstBatch"));
    note(find(cursor->bytes, "nextBatch"));
  }
  return numbers;
}

}  // namespace holdfast::mongo
