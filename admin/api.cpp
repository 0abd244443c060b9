// The routes and what stands behind each.
#include "admin/api.hpp"

#include <charconv>

#include "admin/answers.hpp"
#include "admin/embedded.hpp"
#include "admin/metrics_text.hpp"
#include "admin/process_metrics.hpp"
#include "admin/state_json.hpp"

namespace holdfast::admin {
namespace {

constexpr const char* events_type = "text/event-stream";
constexpr const char* metrics_type = "text/plain; version=0.0.4; charset=utf-8";

Response unknown_connection(const std::string& id) {
  return Api::error(http::status::not_found, "unknown_connection", "there is no connection with the id \"" + id + "\"");
}

bool is_read(http::verb method) { return method == http::verb::get || method == http::verb::head; }

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failed == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

bool is_json(std::string_view content_type) {
  const auto type = content_type.substr(0, content_type.find_first_of("; \t"));
  return beast::iequals(beast::string_view(type.data(), type.size()), json_type);
}

}  // namespace

struct Api::Route {
  enum class Kind {
    none, page, openapi, healthz, readyz, metrics, connections, connection, history, reconnect, pause, resume, status,
    events, sessions, settings,
  };
  Kind kind = Kind::none;
  std::string id;

  [[nodiscard]] const char* methods() const {
    switch (kind) {
      case Kind::reconnect:
      case Kind::pause:
      case Kind::resume: return "POST";
      case Kind::status: return "GET, HEAD, POST";
      case Kind::settings: return "GET, HEAD, PATCH";
      default: return "GET, HEAD";
    }
  }
  [[nodiscard]] bool takes(http::verb method) const {
    const bool orders = kind == Kind::reconnect || kind == Kind::pause || kind == Kind::resume;
    if (is_read(method)) return !orders;
    if (method == http::verb::patch) return kind == Kind::settings;
    return method == http::verb::post && (orders || kind == Kind::status);
  }
  /// What an orchestrator asks without knowing any token, and what says nothing of the databases' state but yes or no;
  /// and the page, which is the same for everybody and asks for the token by itself, since a browser's address bar cannot
  /// send one.
  [[nodiscard]] bool is_open() const { return kind == Kind::healthz || kind == Kind::readyz || kind == Kind::page; }
};

Api::Route Api::route_of(const Target& target) {
  using Kind = Route::Kind;
  const auto& path = target.path;
  if (path.empty()) return {Kind::page, {}};
  if (path.size() == 1) {
    if (path[0] == "healthz") return {Kind::healthz, {}};
    if (path[0] == "readyz") return {Kind::readyz, {}};
    if (path[0] == "metrics") return {Kind::metrics, {}};
    return {};
  }
  if (path[0] != "api") return {};
  if (path.size() == 2 && path[1] == "openapi.json") return {Kind::openapi, {}};
  if (path.size() == 3 && path[1] == "connection" && path[2] == "status") return {Kind::status, {}};
  if (path.size() < 3 || path[1] != "v1") return {};
  if (path.size() == 3 && path[2] == "events") return {Kind::events, {}};
  if (path.size() == 3 && path[2] == "config") return {Kind::settings, {}};
  if (path.size() == 3 && path[2] == "sessions") return {Kind::sessions, {}};
  if (path[2] != "connections") return {};
  if (path.size() == 3) return {Kind::connections, {}};
  if (path.size() == 4) return {Kind::connection, path[3]};
  if (path.size() != 5) return {};
  if (path[4] == "history") return {Kind::history, path[3]};
  if (path[4] == "reconnect") return {Kind::reconnect, path[3]};
  if (path[4] == "pause") return {Kind::pause, path[3]};
  if (path[4] == "resume") return {Kind::resume, path[3]};
  return {};
}

Response Api::error(http::status status, std::string_view code, std::string_view message) {
  return answer(status, json_type, error_json(code, message));
}

std::optional<Response> Api::refuse(const Request& request, const Route& route) const {
  const auto hosts = request.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && request.version() >= 11)) {
    return error(http::status::bad_request, "malformed", "exactly one Host header is needed");
  }
  const auto host = view_of(request[http::field::host]);
  if (hosts == 1 && !access_.host_allowed(host)) {
    return error(http::status::forbidden, "wrong_host", "this server does not go by that Host");
  }
  if (!route.is_open() && !access_.token_allowed(view_of(request[http::field::authorization]))) {
    auto refused = error(http::status::unauthorized, "unauthorized", "the token is missing or wrong");
    refused.set(http::field::www_authenticate, "Bearer");
    return refused;
  }
  if (route.kind == Route::Kind::none) return error(http::status::not_found, "not_found", "there is nothing here");
  if (!route.takes(request.method())) {
    auto refused = error(http::status::method_not_allowed, "method_not_allowed",
                         std::string("only ") + route.methods() + " is possible here");
    refused.set(http::field::allow, route.methods());
    return refused;
  }
  if (is_read(request.method())) return std::nullopt;
  // From here on something is to be changed.
  if (request.count(http::field::origin) > 0 &&
      !Access::origin_allowed(view_of(request[http::field::origin]), host)) {
    return error(http::status::forbidden, "wrong_origin", "pages of other origins may not change anything here");
  }
  if (request.body().empty()) return std::nullopt;
  if (!is_json(view_of(request[http::field::content_type])) || request.count(http::field::content_encoding) > 0) {
    return error(http::status::unsupported_media_type, "unsupported_media_type", "a body must be application/json");
  }
  if (!is_empty_or_object(request.body())) {
    return error(http::status::bad_request, "malformed", "the body must be a JSON object");
  }
  const bool takes_fields = route.kind == Route::Kind::settings || route.kind == Route::Kind::status;
  if (const auto field = takes_fields ? std::nullopt : any_field(request.body())) {
    return error(http::status::bad_request, "malformed", "there is no field \"" + *field + "\" here: the body is empty, or {}");
  }
  return std::nullopt;
}

Task<Answer> Api::handle(Request request) {
  auto target = parse_target(view_of(request.target()));
  if (!target) co_return Answer(error(http::status::bad_request, "malformed", "the target cannot be decoded"));
  auto route = route_of(*target);
  if (auto refused = refuse(request, route)) co_return Answer(std::move(*refused));
  if (route.kind == Route::Kind::events) co_return listen(request, *target);
  auto response = co_await perform(std::move(route), std::move(request), std::move(*target));
  co_return Answer(std::move(response));
}

/// Last-Event-ID goes first: a listener that lost the stream asks for the same target again.
Answer Api::listen(const Request& request, const Target& target) {
  std::optional<std::uint64_t> after;
  std::string_view wanted = view_of(request["Last-Event-ID"]);
  if (wanted.empty()) {
    const auto since = target.query.find("since");
    if (since != target.query.end()) wanted = since->second;
    if (since == target.query.end()) after = source_.events().last();
  }
  if (!after && !(after = number(wanted))) {
    return Answer(error(http::status::bad_request, "malformed", "since and Last-Event-ID are numbers of events"));
  }
  auto response = answer(http::status::ok, events_type, {});
  response.content_length(boost::none);
  response.set("X-Accel-Buffering", "no");
  return Answer(std::move(response), after);
}

Task<Response> Api::perform(Route route, Request request, Target target) {
  using Kind = Route::Kind;
  switch (route.kind) {
    case Kind::healthz: co_return answer(http::status::ok, json_type, R"({"status":"ok"})");
    case Kind::readyz: co_return co_await show_readiness();
    case Kind::metrics: co_return co_await show_metrics();
    case Kind::page: co_return page_answer(request);
    case Kind::openapi: co_return file_answer(request, openapi_document(), json_type);
    case Kind::connections: co_return co_await list(&states_json);
    case Kind::history: co_return show_history(route.id);
    case Kind::connection: co_return co_await show(route.id, http::status::ok);
    case Kind::reconnect:
      co_return co_await order(source_.force_reconnect(route.id), route.id, http::status::accepted);
    case Kind::pause: co_return co_await order(source_.pause(route.id), route.id, http::status::ok);
    case Kind::resume: co_return co_await order(source_.resume(route.id), route.id, http::status::ok);
    case Kind::status: {
      if (!is_read(request.method())) co_return co_await change_status(std::move(request.body()));
      const auto id = target.query.find("connectionId");
      if (id == target.query.end()) co_return co_await list(&states_by_id_json);
      co_return co_await show(id->second, http::status::ok);
    }
    case Kind::settings: {
      if (!is_read(request.method())) co_return change_settings(request.body());
      co_return answer(http::status::ok, json_type, settings_json(source_.settings()));
    }
    case Kind::sessions: co_return co_await show_sessions(std::move(target));
    case Kind::events:
    case Kind::none: break;
  }
  co_return error(http::status::not_found, "not_found", "there is nothing here");
}

Task<Response> Api::list(std::string (*render)(const std::vector<ConnectionView>&)) {
  const auto views = co_await source_.connections();
  co_return answer(http::status::ok, json_type, render(views));
}

Task<Response> Api::show(std::string id, http::status status) {
  const auto view = co_await source_.connection(id);
  if (!view) co_return unknown_connection(id);
  co_return answer(status, json_type, state_json(*view));
}

Task<Response> Api::order(Order given, std::string id, http::status status) {
  if (given == Order::unknown_connection) co_return unknown_connection(id);
  co_return co_await show(std::move(id), status);
}

Task<Response> Api::change_status(std::string body) {
  std::string mistake;
  const auto wanted = parse_status_request(body, mistake);
  if (!wanted) co_return error(http::status::bad_request, "malformed", mistake);
  if (wanted->action == StatusRequest::Action::status) co_return co_await show(wanted->connection, http::status::ok);
  co_return co_await order(source_.force_reconnect(wanted->connection), wanted->connection, http::status::accepted);
}

Response Api::change_settings(const std::string& body) {
  std::vector<BadField> bad;
  source_.change_settings([&](config::Config& config) {
    bad = admin::change_settings(body, config);
    return bad.empty();
  });
  if (!bad.empty()) return answer(http::status::unprocessable_entity, json_type, bad_fields_json(bad));
  return answer(http::status::ok, json_type, settings_json(source_.settings()));
}

Response Api::show_history(const std::string& id) {
  const auto view = source_.history(id);
  return view ? answer(http::status::ok, json_type, history_json(id, *view)) : unknown_connection(id);
}

Task<Response> Api::show_sessions(Target target) {
  const auto asked = target.query.find("connection");
  std::optional<std::string> id;
  if (asked != target.query.end()) id = asked->second;
  const auto sessions = co_await source_.sessions(id);
  if (!sessions) co_return unknown_connection(*id);
  co_return answer(http::status::ok, json_type, sessions_json(*sessions));
}

Task<Response> Api::show_readiness() {
  const auto readiness = co_await source_.readiness();
  if (!readiness.ready) co_return error(http::status::service_unavailable, "not_ready", readiness.reason);
  co_return answer(http::status::ok, json_type, R"({"status":"ready"})");
}

Task<Response> Api::show_metrics() {
  const auto snapshot = co_await source_.metrics();
  co_return answer(http::status::ok, metrics_type, metrics_text(snapshot, read_process_metrics()));
}

}  // namespace holdfast::admin
