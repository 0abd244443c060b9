// The fields of each kind of event.
#include "admin/event_text.hpp"

#include <boost/json.hpp>

#include <string_view>

#include "admin/state_json.hpp"

namespace holdfast::admin {
namespace {

namespace json = boost::json;

std::string framed(std::uint64_t id, std::string_view name, std::string_view data) {
  // JSON has no line ends of its own: data is one line.
  return "id: " + std::to_string(id) + "\nevent: " + std::string(name) + "\ndata: " + std::string(data) + "\n\n";
}

json::array words(std::string_view text) {
  json::array all;
  while (!text.empty()) {
    const auto word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    all.emplace_back(valid_utf8(word));
  }
  return all;
}

void add_fields(const proxy::Event& event, json::object& data) {
  using Kind = proxy::EventKind;
  switch (event.kind) {
    case Kind::connected: break;
    case Kind::reconnect_scheduled:
      data["attempt"] = event.attempt;
      data["maxRetries"] = event.max_retries;
      data["delayMs"] = event.delay.count();
      break;
    case Kind::reconnecting: data["attempt"] = event.attempt; break;
    case Kind::reconnected:
      data["downtimeMs"] = event.downtime.count();
      data["sessionsRestored"] = event.sessions_restored;
      data["statementsReplayed"] = event.statements_replayed;
      break;
    case Kind::connection_lost:
    case Kind::reconnect_failed:
    case Kind::health_check_failed: data["reason"] = valid_utf8(event.reason); break;
    case Kind::config_changed: data["changed"] = words(event.reason); break;
  }
}

}  // namespace

std::string event_json(const NumberedEvent& event, EventName name) {
  json::object data;
  if (name == EventName::inside) data["event"] = proxy::to_string(event.event.kind);
  data["id"] = event.id;
  data["time"] = iso_time(event.event.time);
  const auto& connection = event.event.connection;
  data["connectionId"] = connection.empty() ? json::value(nullptr) : json::value(valid_utf8(connection));
  add_fields(event.event, data);
  return json::serialize(data);
}

std::string event_text(const NumberedEvent& event) {
  return framed(event.id, proxy::to_string(event.event.kind), event_json(event, EventName::outside));
}

std::string gap_text(const EventFeed::Batch& batch, proxy::SystemTime now) {
  if (batch.missed == 0 && !batch.other_run) return {};
  json::object data{{"id", batch.last_missed}, {"time", iso_time(now)}, {"connectionId", nullptr},
                    {"missed", batch.missed}};
  if (batch.other_run) data["restarted"] = true;
  return framed(batch.last_missed, "gap", json::serialize(data));
}

}  // namespace holdfast::admin
