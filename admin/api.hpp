// Answers requests: routes, rules, and what each asks of the source. No socket in here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admin/access.hpp"
#include "admin/http.hpp"
#include "admin/source.hpp"

namespace holdfast::admin {

/// What a request is answered with.
struct Answer {
  Answer() = default;
  // Not an aggregate: GCC 12 destroys temporaries of those twice in a coroutine.
  explicit Answer(Response of, std::optional<std::uint64_t> after = {})
      : response(std::move(of)), events_after(after) {}

  Response response;
  /// There: the response has no length, and after it comes the stream of the events after this one.
  std::optional<std::uint64_t> events_after;
};

class Api {
 public:
  /// `source` outlives this.
  Api(Source& source, Access access) : source_(source), access_(std::move(access)) {}

  /// For requests that come from now on.
  void set_token(config::Secret token) { access_.set_token(std::move(token)); }

  /// Never throws for what a client sent. The response has its length, but a body also for HEAD.
  Task<Answer> handle(Request request);

  /// The answer to what could not be read as a request.
  [[nodiscard]] static Response error(http::status status, std::string_view code, std::string_view message);

 private:
  struct Route;

  [[nodiscard]] static Route route_of(const Target& target);
  /// An answer where the request must not be let through.
  [[nodiscard]] std::optional<Response> refuse(const Request& request, const Route& route) const;
  [[nodiscard]] Answer listen(const Request& request, const Target& target);
  Task<Response> perform(Route route, Request request, Target target);
  Task<Response> list(std::string (*render)(const std::vector<ConnectionView>&));
  Task<Response> show(std::string id, http::status status);
  Task<Response> order(Order given, std::string id, http::status status);
  Task<Response> change_status(std::string body);
  Response change_settings(const std::string& body);
  Response show_history(const std::string& id);
  Task<Response> show_sessions(Target target);
  Task<Response> show_readiness();
  Task<Response> show_metrics();

  Source& source_;
  Access access_;
};

}  // namespace holdfast::admin
