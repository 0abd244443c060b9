// Slots with reference counts, and the names that point to them.
#include "protocol/postgres/statement_store.hpp"

#include <algorithm>
#include <utility>

namespace holdfast::postgres {

StatementId StatementStore::take_slot() {
  StatementId id;
  if (free_.empty()) {
    id = static_cast<StatementId>(slots_.size());
    slots_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  slots_[id].references = 1;
  return id;
}

StatementId StatementStore::add_query(std::string_view message, std::string_view text) {
  const auto id = take_slot();
  auto& slot = slots_[id];
  slot.message.assign(message);
  slot.name_size = 0;
  slot.text_size = static_cast<std::uint32_t>(text.size());
  slot.is_parse = false;
  slot.backend = 0;
  slot.born = slot.read_as = 0;
  slot.scan = scan_text(text);
  return id;
}

StatementId StatementStore::add_parse(std::string_view message, std::string_view name, std::string_view text) {
  const auto id = add_query(message, text);
  auto& slot = slots_[id];
  slot.name_size = static_cast<std::uint32_t>(name.size());
  slot.is_parse = true;
  return id;
}

StatementId StatementStore::add_without_text() {
  const auto id = take_slot();
  auto& slot = slots_[id];
  slot.message.clear();
  slot.name_size = slot.text_size = 0;
  slot.is_parse = false;
  slot.backend = 0;
  slot.born = slot.read_as = 0;
  slot.scan = TextScan{};
  return id;
}

void StatementStore::release(StatementId id) {
  if (id == no_statement || --slots_[id].references > 0) return;
  // A slot keeps its memory for the next statement, unless it had grown far beyond an ordinary text.
  if (slots_[id].message.capacity() > 16 * 1024) std::string().swap(slots_[id].message);
  free_.push_back(id);
}

StatementId StatementStore::find(std::string_view name) const {
  if (name.empty()) return unnamed_;
  const auto found = names_.find(name);
  return found == names_.end() ? no_statement : found->second;
}

StatementId StatementStore::bind_name(std::string_view name, StatementId id) {
  hold(id);
  if (name.empty()) return std::exchange(unnamed_, id);
  const auto [at, inserted] = names_.try_emplace(std::string(name), id);
  return inserted ? no_statement : std::exchange(at->second, id);
}

void StatementStore::rebind_name(std::string_view name, StatementId previous) {
  // The caller's reference to `previous` becomes the name's.
  StatementId now = no_statement;
  if (name.empty()) {
    now = std::exchange(unnamed_, previous);
  } else if (const auto found = names_.find(name); found != names_.end()) {
    now = found->second;
    if (previous == no_statement) {
      names_.erase(found);
    } else {
      found->second = previous;
    }
  } else if (previous != no_statement) {
    names_.emplace(std::string(name), previous);
  }
  release(now);
}

void StatementStore::drop_name(std::string_view name) {
  if (name.empty()) {
    release(std::exchange(unnamed_, no_statement));
  } else if (const auto found = names_.find(name); found != names_.end()) {
    release(found->second);
    names_.erase(found);
  }
}

void StatementStore::note_reading(std::uint64_t reading) {
  const auto note = [&](StatementId id) {
    if (id == no_statement || slots_[id].read_as != 0) return;
    const auto depends = [](char c) { return c == '\\' || (c & 0x80) != 0; };
    if (std::ranges::any_of(slots_[id].text(), depends)) slots_[id].read_as = reading;
  };
  for (const auto& [name, id] : names_) note(id);
  note(unnamed_);
}

void StatementStore::drop_all_names() {
  for (auto& [name, id] : names_) release(id);
  names_.clear();
}

}  // namespace holdfast::postgres
