// Boost.JSON stays in this file.
#include "admin/state_json.hpp"

#include <boost/json.hpp>

#include <chrono>
#include <ctime>
#include <utility>

namespace holdfast::admin {
namespace {

namespace json = boost::json;

json::value time_or_null(const std::optional<proxy::SystemTime>& time) {
  return time ? json::value(iso_time(*time)) : json::value(nullptr);
}

json::value text_or_null(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(valid_utf8(text));
}

/// In milliseconds, to a hundredth.
json::value latency_or_null(const std::optional<proxy::microseconds>& latency) {
  if (!latency) return nullptr;
  const auto hundredths = (latency->count() + 5) / 10;
  return hundredths % 100 == 0 ? json::value(hundredths / 100) : json::value(static_cast<double>(hundredths) / 100);
}

json::object capabilities_object(const proxy::Capabilities& capabilities) {
  json::array members;
  for (const auto& member : capabilities.members) {
    members.push_back(json::object{
        {"address", valid_utf8(member.address)},
        {"product", text_or_null(member.product)},
        {"version", text_or_null(member.version)},
        {"minWireVersion", member.wire_min},
        {"maxWireVersion", member.wire_max},
        {"deduplicates", member.reason.empty()},
        {"reason", text_or_null(member.reason)},
    });
  }
  return {{"kind", text_or_null(capabilities.kind)}, {"deduplicates", capabilities.deduplicates}, {"members", std::move(members)}};
}

json::object state_object(const ConnectionView& view) {
  const auto& status = view.status;
  json::array endpoints;
  for (const auto& endpoint : status.endpoints) {
    endpoints.push_back(json::object{
        {"address", valid_utf8(endpoint.address)},
        {"role", proxy::to_string(endpoint.role)},
        {"healthy", endpoint.healthy},
        {"latencyMs", latency_or_null(endpoint.latency)},
    });
  }
  json::object state{
      {"connectionId", status.connection},
      {"type", view.type == config::ConnectionType::postgres ? "postgres" : "mongodb"},
      // A paused connection keeps its standing connection: it is connected, whatever its clients are made to wait for.
      {"isConnected", !status.current.empty()},
      {"isReconnecting", status.state == proxy::State::reconnecting},
      {"lastHealthCheck", time_or_null(status.last_health_check)},
      {"connectionAttempts", status.attempts},
      {"lastError", text_or_null(status.last_error)},
      {"state", proxy::to_string(status.state)},
      {"breaker", proxy::to_string(status.breaker)},
      {"nextAttemptAt", time_or_null(status.next_attempt_at)},
      {"upstream", text_or_null(status.current)},
      {"endpoints", std::move(endpoints)},
      {"sessions", json::object{{"active", view.sessions.active},
                                {"idle", view.sessions.idle},
                                {"waiting", view.sessions.waiting}}},
      {"since", iso_time(status.since)},
  };
  if (view.capabilities) state["capabilities"] = capabilities_object(*view.capabilities);
  return state;
}

/// Bytes of the UTF-8 sequence that `text` begins with; 0 where it begins with none (RFC 3629, section 4).
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xc0U) == 0x80U; };
  const auto first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool overlong = first == 0xe0 && second < 0xa0, surrogate = first == 0xed && second > 0x9f;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool overlong = first == 0xf0 && second < 0x90, too_large = first == 0xf4 && second > 0x8f;
    return continues(1) && continues(2) && continues(3) && !overlong && !too_large ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string iso_time(proxy::SystemTime time) {
  const auto since_epoch = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
  const auto millisecond = (since_epoch % 1000 + 1000) % 1000;
  const auto seconds = static_cast<std::time_t>((since_epoch - millisecond) / 1000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  const auto length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.", &parts);
  const auto digits = std::to_string(1000 + millisecond);
  return std::string(text, length) + digits.substr(1) + "Z";
}

std::string valid_utf8(std::string_view text) {
  constexpr std::string_view replacement = "\xef\xbf\xbd";
  std::string valid;
  while (!text.empty()) {
    const auto length = sequence_length(text);
    valid.append(length == 0 ? replacement : text.substr(0, length));
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return valid;
}

std::string state_json(const ConnectionView& view) { return json::serialize(state_object(view)); }

std::string states_json(const std::vector<ConnectionView>& views) {
  json::array states;
  for (const auto& view : views) states.push_back(state_object(view));
  return json::serialize(states);
}

std::string states_by_id_json(const std::vector<ConnectionView>& views) {
  json::object states;
  for (const auto& view : views) states[view.status.connection] = state_object(view);
  return json::serialize(states);
}

std::string history_json(const std::string& id, const History::View& view) {
  json::array latency, outages, errors;
  for (const auto& sample : view.samples) {
    latency.push_back(json::object{
        {"time", iso_time(sample.time)}, {"ms", latency_or_null(sample.latency)}, {"failed", sample.failed}});
  }
  for (const auto& outage : view.outages) {
    outages.push_back(json::object{
        {"from", iso_time(outage.from)}, {"to", time_or_null(outage.to)}, {"reason", valid_utf8(outage.reason)}});
  }
  for (const auto& error : view.errors) {
    errors.push_back(json::object{{"time", iso_time(error.time)}, {"message", valid_utf8(error.message)}});
  }
  return json::serialize(json::object{{"connectionId", id},
                                      {"latency", std::move(latency)},
                                      {"outages", std::move(outages)},
                                      {"errors", std::move(errors)}});
}

std::string sessions_json(const std::vector<proxy::SessionEntry>& sessions) {
  json::array all;
  for (const auto& session : sessions) {
    all.push_back(json::object{
        {"id", session.id},
        {"connectionId", session.connection},
        {"client", valid_utf8(session.client)},
        {"user", valid_utf8(session.user)},
        {"database", valid_utf8(session.database)},
        {"application", text_or_null(session.application)},
        {"state", session.state},
        {"backend", text_or_null(session.backend)},
        {"reconnections", session.reconnections},
        {"statementStart", session.statement_start ? json::value(iso_time(*session.statement_start)) : json::value(nullptr)},
        {"protection", session.protection},
        {"reason", text_or_null(session.reason)},
    });
  }
  return json::serialize(all);
}

std::string error_json(std::string_view code, std::string_view message) {
  return json::serialize(json::object{{"error", json::object{{"code", code}, {"message", valid_utf8(message)}}}});
}

std::optional<StatusRequest> parse_status_request(std::string_view body, std::string& error) {
  boost::system::error_code failed;
  const auto value = json::parse(json::string_view(body.data(), body.size()), failed);
  if (failed || !value.is_object()) {
    error = "the body must be a JSON object";
    return std::nullopt;
  }
  for (const auto& [key, ignored] : value.get_object()) {
    if (key == "connectionId" || key == "action") continue;
    error = "there is no field \"" + std::string(key) + "\" here: only connectionId and action";
    return std::nullopt;
  }
  StatusRequest request;
  const auto* connection = value.get_object().if_contains("connectionId");
  if (connection == nullptr || !connection->is_string()) {
    error = "connectionId must be a string";
    return std::nullopt;
  }
  request.connection = std::string(connection->get_string());
  const auto* action = value.get_object().if_contains("action");
  if (action != nullptr && *action == "reconnect") {
    request.action = StatusRequest::Action::reconnect;
  } else if (action == nullptr || *action != "status") {
    error = "action must be \"reconnect\" or \"status\"";
    return std::nullopt;
  }
  return request;
}

std::optional<std::string> any_field(std::string_view body) {
  if (body.empty()) return std::nullopt;
  boost::system::error_code failed;
  const auto value = json::parse(json::string_view(body.data(), body.size()), failed);
  if (failed || !value.is_object() || value.get_object().empty()) return std::nullopt;
  return std::string(value.get_object().begin()->key());
}

bool is_empty_or_object(std::string_view body) {
  if (body.empty()) return true;
  boost::system::error_code failed;
  const auto value = json::parse(json::string_view(body.data(), body.size()), failed);
  return !failed && value.is_object();
}

}  // namespace holdfast::admin
