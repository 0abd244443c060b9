// Real requests over loopback: every status, keep-alive, HEAD, what is too large, too slow, or no HTTP at all.
#include "admin/server.hpp"

#include <atomic>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/admin/server_fixture.hpp"

namespace holdfast::admin {
namespace {

using namespace std::chrono_literals;

TEST_F(AdminServer, says_that_it_lives_and_whether_it_is_ready) {
  EXPECT_EQ(get("/healthz").result_int(), 200U);
  EXPECT_EQ(get("/readyz").result_int(), 200U);
  source_.not_ready("the breaker of orders is open");
  const auto refused = get("/readyz");
  EXPECT_EQ(refused.result_int(), 503U);
  EXPECT_EQ(refused.body(), R"({"error":{"code":"not_ready","message":"the breaker of orders is open"}})");
  EXPECT_EQ(get("/healthz").result_int(), 200U);
}

TEST_F(AdminServer, shows_all_connections_one_and_none) {
  const auto all = get("/api/v1/connections");
  EXPECT_EQ(all.result_int(), 200U);
  EXPECT_EQ(all[http::field::content_type], "application/json");
  EXPECT_TRUE(all.body().starts_with(R"([{"connectionId":"orders")")) << all.body();
  EXPECT_TRUE(contains(all, R"({"connectionId":"down")"));
  const auto one = get("/api/v1/connections/o%72ders");
  EXPECT_TRUE(one.body().starts_with(R"({"connectionId":"orders")")) << one.body();
  const auto none = get("/api/v1/connections/nobody");
  EXPECT_EQ(none.result_int(), 404U);
  EXPECT_TRUE(contains(none, R"("code":"unknown_connection")"));
}

TEST_F(AdminServer, lists_the_sessions_of_all_connections_or_of_one) {
  const auto all = get("/api/v1/sessions");
  EXPECT_EQ(all.result_int(), 200U);
  EXPECT_EQ(all[http::field::content_type], "application/json");
  EXPECT_TRUE(all.body().starts_with(
      R"([{"id":1,"connectionId":"orders","client":"127.0.0.1:40000","user":"app)" "\xef\xbf\xbd"
      R"(","database":"","application":null,"state":"idle","backend":"db:5432","reconnections":0,"statementStart":null,)"
      R"("protection":"restorable","reason":null},{"id":2,)"))
      << all.body();
  EXPECT_TRUE(contains(all, R"("connectionId":"down")"));
  const auto one = get("/api/v1/sessions?connection=down");
  EXPECT_TRUE(one.body().starts_with(R"([{"id":1,"connectionId":"down")")) << one.body();
  EXPECT_TRUE(contains(one, R"("backend":null)"));
  EXPECT_FALSE(contains(one, "orders"));
  EXPECT_EQ(get("/api/v1/sessions?connection=nobody").result_int(), 404U);
  EXPECT_EQ(get("/api/v1/sessions?connection=").result_int(), 404U);
  EXPECT_EQ(get("/api/v1/sessions/1").result_int(), 404U);
  EXPECT_EQ(post("/api/v1/sessions").result_int(), 405U);
}

TEST_F(AdminServer, changes_settings_while_it_runs) {
  const std::string target = "/api/v1/config";
  const auto patch = [&](const std::string& body, const std::string& headers = json_header) {
    return ask(request("PATCH", target, headers, body));
  };
  EXPECT_TRUE(contains(get(target), R"("orders":{"type":"postgres")"));
  const auto changed = patch(R"({"connections":{"orders":{"reconnect":{"retry_delay":"250ms"}}}})");
  EXPECT_EQ(changed.result_int(), 200U);
  EXPECT_TRUE(contains(changed, R"("differs_from_file":{"reconnect":{"retry_delay":"5s"}})")) << changed.body();
  EXPECT_EQ(get(target).body(), changed.body());
  const auto refused = patch(R"({"health":{"interval":1},"reconnect":{"retries":1},"workers":2})");
  EXPECT_EQ(refused.result_int(), 422U);
  for (const auto* field : {R"("field":"health.interval")", R"("field":"reconnect.retries")", R"("field":"workers")"}) {
    EXPECT_TRUE(contains(refused, field)) << refused.body();
  }
  EXPECT_EQ(get(target).body(), changed.body());
  EXPECT_EQ(patch("{}").body(), changed.body());
  EXPECT_EQ(patch("", "").body(), changed.body());
}

TEST_F(AdminServer, takes_settings_from_its_own_pages_and_as_json_only) {
  const std::string target = "/api/v1/config";
  const auto patch = [&](const std::string& body, const std::string& headers) {
    return ask(request("PATCH", target, headers, body)).result_int();
  };
  EXPECT_EQ(patch("{}", ""), 415U);
  EXPECT_EQ(patch("{}", "Content-Type: text/plain\r\n"), 415U);
  EXPECT_EQ(patch("[]", json_header), 400U);
  EXPECT_EQ(patch("{", json_header), 400U);
  EXPECT_EQ(patch("{}", std::string(json_header) + "Origin: http://evil.example\r\n"), 403U);
  const auto post_it = post(target, json_header, "{}");
  EXPECT_EQ(post_it.result_int(), 405U);
  EXPECT_EQ(post_it[http::field::allow], "GET, HEAD, PATCH");
  EXPECT_EQ(ask(request("PATCH", "/api/v1/connections")).result_int(), 405U);
}

TEST_F(AdminServer, answers_for_the_status_of_connections) {
  EXPECT_TRUE(get("/api/connection/status").body().starts_with(R"({"orders":{"connectionId":"orders")"));
  EXPECT_TRUE(get("/api/connection/status?connectionId=down").body().starts_with(R"({"connectionId":"down")"));
  EXPECT_EQ(get("/api/connection/status?connectionId=nobody").result_int(), 404U);
  const auto shown = post("/api/connection/status", json_header, R"({"connectionId":"down","action":"status"})");
  EXPECT_EQ(shown.result_int(), 200U);
  EXPECT_TRUE(source_.orders().empty());
  const auto ordered = post("/api/connection/status", json_header, R"({"connectionId":"down","action":"reconnect"})");
  EXPECT_EQ(ordered.result_int(), 202U);
  EXPECT_TRUE(contains(ordered, R"("connectionId":"down")"));
  EXPECT_EQ(source_.orders(), std::vector<std::string>{"reconnect down"});
  EXPECT_EQ(post("/api/connection/status", json_header, R"({"connectionId":"nobody","action":"reconnect"})").result_int(),
            404U);
  EXPECT_EQ(post("/api/connection/status", json_header, R"({"connectionId":"down"})").result_int(), 400U);
  EXPECT_EQ(post("/api/connection/status").result_int(), 400U);
}

TEST_F(AdminServer, passes_orders_on) {
  const auto reconnect = post("/api/v1/connections/orders/reconnect");
  EXPECT_EQ(reconnect.result_int(), 202U);
  EXPECT_TRUE(contains(reconnect, R"("connectionId":"orders")"));
  EXPECT_EQ(post("/api/v1/connections/orders/pause", json_header, "{}").result_int(), 200U);
  EXPECT_EQ(post("/api/v1/connections/orders/resume").result_int(), 200U);
  EXPECT_EQ(post("/api/v1/connections/nobody/reconnect").result_int(), 404U);
  EXPECT_EQ(source_.orders(), (std::vector<std::string>{"reconnect orders", "pause orders", "resume orders"}));
}

TEST_F(AdminServer, shows_metrics_and_a_page) {
  const auto metrics = get("/metrics");
  EXPECT_EQ(metrics[http::field::content_type], "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_TRUE(contains(metrics, "holdfast_build_info{version=\"1.2.3\"} 1"));
  const auto page = get("/");
  EXPECT_EQ(page[http::field::content_type], "text/html; charset=utf-8");
  EXPECT_TRUE(page.body().starts_with("<!doctype html>"));
  const std::string policy(page["Content-Security-Policy"]);
  EXPECT_NE(policy.find("script-src 'sha256-"), std::string::npos) << policy;
  EXPECT_NE(policy.find("frame-ancestors 'none'"), std::string::npos) << policy;
}

TEST_F(AdminServer, sends_the_page_and_the_api_document_again_only_where_they_are_others) {
  for (const auto* target : {"/", "/api/openapi.json"}) {
    const auto whole = get(target);
    EXPECT_EQ(whole.result_int(), 200U) << target;
    const std::string etag(whole[http::field::etag]);
    EXPECT_EQ(etag.size(), 66U) << target;
    for (const auto& known : {etag, "W/" + etag, "\"other\", " + etag, std::string("*")}) {
      Client client(server_->address());
      client.send(request("GET", target, "If-None-Match: " + known + "\r\n"));
      const auto same = client.receive();
      EXPECT_EQ(same.result_int(), 304U) << target << " " << known;
      EXPECT_EQ(same[http::field::etag], etag);
      client.send(request("GET", "/healthz"));
      EXPECT_EQ(client.receive().result_int(), 200U) << target;
    }
    EXPECT_EQ(ask(request("GET", target, "If-None-Match: \"other\"\r\n")).body(), whole.body());
    const auto head = ask(request("HEAD", target), Client::Body::skip);
    EXPECT_EQ(head[http::field::content_length], std::to_string(whole.body().size()));
  }
}

TEST_F(AdminServer, every_answer_forbids_to_be_framed_sniffed_or_referred_to) {
  for (const auto* target : {"/", "/healthz", "/metrics", "/api/v1/connections", "/nothing"}) {
    const auto response = get(target);
    EXPECT_EQ(response["X-Content-Type-Options"], "nosniff") << target;
    EXPECT_EQ(response["Referrer-Policy"], "no-referrer") << target;
    EXPECT_NE(response["Content-Security-Policy"].find("frame-ancestors 'none'"), beast::string_view::npos) << target;
    EXPECT_EQ(response[http::field::date].substr(25), " GMT") << target;
  }
}

TEST_F(AdminServer, shows_the_last_hour_of_a_connection) {
  const auto history = get("/api/v1/connections/orders/history");
  EXPECT_EQ(history.body(), "{\"connectionId\":\"orders\",\"latency\":[],\"outages\":[],\"errors\":[{\"time\":\"1970-01-01T"
                            "00:00:00.000Z\",\"message\":\"refused\xef\xbf\xbd\"}]}");
  EXPECT_EQ(get("/api/v1/connections/nobody/history").result_int(), 404U);
  EXPECT_EQ(post("/api/v1/connections/orders/history").result_int(), 405U);
}

TEST_F(AdminServer, knows_what_it_has_not) {
  for (const auto* target : {"/nothing", "/api", "/api/v1", "/api/v2/connections", "/api/v1/connections/orders/stop",
                             "/api/v1/connections/orders/pause/now", "//healthz"}) {
    const auto response = get(target);
    EXPECT_EQ(response.result_int(), 404U) << target;
    EXPECT_TRUE(contains(response, R"("code":"not_found")")) << target;
  }
}

TEST_F(AdminServer, names_the_methods_that_it_takes) {
  const auto put = ask(request("PUT", "/api/connection/status"));
  EXPECT_EQ(put.result_int(), 405U);
  EXPECT_EQ(put[http::field::allow], "GET, HEAD, POST");
  const auto get_order = get("/api/v1/connections/orders/pause");
  EXPECT_EQ(get_order.result_int(), 405U);
  EXPECT_EQ(get_order[http::field::allow], "POST");
  const auto post_list = post("/api/v1/connections");
  EXPECT_EQ(post_list.result_int(), 405U);
  EXPECT_EQ(post_list[http::field::allow], "GET, HEAD");
  EXPECT_EQ(ask(request("OPTIONS", "/healthz")).result_int(), 405U);
  EXPECT_TRUE(source_.orders().empty());
}

TEST_F(AdminServer, refuses_pages_of_other_origins_and_names_that_are_not_its_own) {
  const std::string order = "/api/v1/connections/orders/reconnect";
  EXPECT_EQ(post(order, "Origin: http://evil.example\r\n").result_int(), 403U);
  EXPECT_EQ(post(order, "Origin: null\r\n").result_int(), 403U);
  EXPECT_EQ(ask("GET /api/v1/connections HTTP/1.1\r\nHost: evil.example\r\n\r\n").result_int(), 403U);
  EXPECT_EQ(ask("GET /healthz HTTP/1.1\r\n\r\n").result_int(), 400U);
  EXPECT_EQ(ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n").result_int(), 400U);
  EXPECT_TRUE(source_.orders().empty());
  EXPECT_EQ(post(order, "Origin: http://localhost\r\n").result_int(), 202U);
}

TEST_F(AdminServer, takes_json_objects_only) {
  const std::string order = "/api/v1/connections/orders/reconnect";
  EXPECT_EQ(post(order, "Content-Type: text/plain\r\n", "{}").result_int(), 415U);
  EXPECT_EQ(post(order, "", "{}").result_int(), 415U);
  EXPECT_EQ(post(order, std::string(json_header) + "Content-Encoding: gzip\r\n", "{}").result_int(), 415U);
  EXPECT_EQ(post(order, json_header, "{").result_int(), 400U);
  EXPECT_EQ(post(order, json_header, "[]").result_int(), 400U);
  const auto unknown = post(order, json_header, R"({"when":"now"})");
  EXPECT_EQ(unknown.result_int(), 400U);
  EXPECT_TRUE(contains(unknown, "there is no field \\\"when\\\" here")) << unknown.body();
  EXPECT_TRUE(source_.orders().empty());
  EXPECT_EQ(post(order, "Content-Type: application/json; charset=utf-8\r\n", "{}").result_int(), 202U);
}

TEST_F(AdminServer, keeps_the_connection_for_the_next_request_also_one_already_sent) {
  Client client(server_->address());
  client.send(request("GET", "/healthz") + request("GET", "/nothing") + request("GET", "/readyz"));
  EXPECT_EQ(client.receive().result_int(), 200U);
  EXPECT_EQ(client.receive().result_int(), 404U);
  EXPECT_EQ(client.receive().result_int(), 200U);
  client.send(request("GET", "/healthz", "Connection: close\r\n"));
  EXPECT_FALSE(client.receive().keep_alive());
  EXPECT_TRUE(client.closed());
}

TEST_F(AdminServer, speaks_http_1_0) {
  Client client(server_->address());
  client.send("GET /healthz HTTP/1.0\r\n\r\n");
  const auto response = client.receive();
  EXPECT_EQ(response.result_int(), 200U);
  EXPECT_EQ(response.version(), 10U);
  EXPECT_TRUE(client.closed());
}

TEST_F(AdminServer, answers_head_with_the_length_and_no_body) {
  const auto whole = get("/api/v1/connections");
  Client client(server_->address());
  client.send(request("HEAD", "/api/v1/connections"));
  const auto response = client.receive(Client::Body::skip);
  EXPECT_EQ(response.result_int(), 200U);
  EXPECT_EQ(response[http::field::content_length], std::to_string(whole.body().size()));
  client.send(request("GET", "/healthz"));
  EXPECT_EQ(client.receive().body(), R"({"status":"ok"})");
}

TEST_F(AdminServer, takes_a_body_that_it_had_to_ask_for) {
  Client client(server_->address());
  client.send("POST /api/v1/connections/orders/reconnect HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
              "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.receive(Client::Body::skip).result_int(), 100U);
  client.send("{}");
  EXPECT_EQ(client.receive().result_int(), 202U);
}

TEST_F(AdminServer, ends_what_is_too_large_with_an_answer) {
  Client client(server_->address());
  client.send(request("GET", "/healthz", "X-Long: " + std::string(100'000, 'x') + "\r\n"));
  EXPECT_EQ(client.receive().result_int(), 431U);
  EXPECT_TRUE(client.closed());

  Client second(server_->address());
  second.send(request("POST", "/api/connection/status", json_header, std::string(1'000'000, ' ')));
  EXPECT_EQ(second.receive().result_int(), 413U);
  EXPECT_TRUE(second.closed());

  Client chunked(server_->address());
  std::string body = "POST /api/connection/status HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int chunk = 0; chunk < 20; ++chunk) body += "2000\r\n" + std::string(0x2000, ' ') + "\r\n";
  chunked.send(body);
  EXPECT_EQ(chunked.receive().result_int(), 413U);
}

TEST_F(AdminServer, answers_what_is_no_http) {
  for (const auto& garbage :
       {std::string("hello\r\n\r\n"), std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + "\r\n\r\n",
        std::string("GET /healthz HTTP/9.9\r\n\r\n"), std::string("GET /% HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        std::string("POST /readyz HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n")}) {
    EXPECT_EQ(ask(garbage).result_int(), 400U) << garbage;
  }
  EXPECT_EQ(get("/healthz").result_int(), 200U);
}

TEST_F(AdminServer, a_fault_is_a_500_and_the_server_goes_on) {
  const auto response = get("/api/v1/connections/broken");
  EXPECT_EQ(response.result_int(), 500U);
  EXPECT_FALSE(contains(response, "fault"));
  EXPECT_EQ(get("/healthz").result_int(), 200U);
}

TEST_F(AdminServer, serves_many_clients_at_once) {
  std::atomic<int> answered = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 50; ++i) {
    clients.emplace_back([&] {
      Client client(server_->address());
      for (int round = 0; round < 20; ++round) {
        client.send(request("GET", "/api/v1/connections"));
        if (client.receive().result_int() == 200) ++answered;
      }
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_EQ(answered, 50 * 20);
}

TEST_F(AdminServer, says_why_it_cannot_listen) {
  auto config = local();
  config.listen->port = server_->address().port;
  try {
    Server second(config, source_);
    FAIL() << "two servers on one port";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(error.what(),
              "admin: cannot listen on 127.0.0.1:" + std::to_string(config.listen->port) + ": address in use");
  }
  config.listen->host = "no.such.host";
  EXPECT_THROW(Server(config, source_), std::runtime_error);
  config.listen = config::ListenAddress{"0.0.0.0", 0, {}};
  EXPECT_THROW(Server(config, source_), std::runtime_error) << "no token, and everybody gets there";
}

class ImpatientAdminServer : public AdminServer {
 protected:
  ImpatientAdminServer() : AdminServer(local(), limits()) {}
  static Limits limits() {
    Limits limits;
    limits.request_timeout = 400ms;
    limits.idle_timeout = 300ms;
    limits.clients_max = 8;
    return limits;
  }
};

TEST_F(ImpatientAdminServer, ends_clients_that_send_a_byte_now_and_then) {
  Client slow(server_->address());
  const auto begun = std::chrono::steady_clock::now();
  std::promise<void> ended;
  std::thread drip([&slow, over = ended.get_future()] {
    for (const char c : request("GET", "/healthz")) {
      slow.send({&c, 1});
      if (over.wait_for(20ms) == std::future_status::ready) return;
    }
  });
  EXPECT_TRUE(slow.closed());
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s);
  ended.set_value();
  drip.join();
}

TEST_F(ImpatientAdminServer, ends_clients_that_say_nothing) {
  Client silent(server_->address());
  EXPECT_TRUE(silent.closed());
}

TEST_F(ImpatientAdminServer, new_clients_get_in_however_many_are_silent) {
  std::vector<std::unique_ptr<Client>> silent;
  for (int i = 0; i < 40; ++i) {
    silent.push_back(std::make_unique<Client>(server_->address()));
    silent.back()->send("GET /healthz HTTP/1.1\r\n");
  }
  EXPECT_EQ(get("/healthz").result_int(), 200U);
  EXPECT_TRUE(silent.front()->closed());
}

class GuardedAdminServer : public AdminServer {
 protected:
  GuardedAdminServer() : AdminServer(guarded()) {}
  static config::Admin guarded() {
    auto config = local();
    config.token = config::Secret("s3cret");
    return config;
  }
};

TEST_F(GuardedAdminServer, wants_the_token_but_for_the_probes) {
  EXPECT_EQ(get("/healthz").result_int(), 200U);
  EXPECT_EQ(get("/readyz").result_int(), 200U);
  EXPECT_EQ(get("/").result_int(), 200U) << "the page is the same for everybody, and asks for the token";
  for (const auto* target : {"/metrics", "/api/openapi.json", "/api/v1/connections", "/nothing"}) {
    const auto refused = get(target);
    EXPECT_EQ(refused.result_int(), 401U) << target;
    EXPECT_EQ(refused[http::field::www_authenticate], "Bearer");
  }
  EXPECT_EQ(post("/api/v1/connections/orders/pause", "Authorization: Bearer wrong\r\n").result_int(), 401U);
  EXPECT_TRUE(source_.orders().empty());
  EXPECT_EQ(post("/api/v1/connections/orders/pause", "Authorization: Bearer s3cret\r\n").result_int(), 200U);
  EXPECT_EQ(ask(request("GET", "/metrics", "Authorization: Bearer s3cret\r\n")).result_int(), 200U);
}

TEST(AdminServerOnAUnixSocket, serves_and_takes_the_place_of_a_dead_one) {
  const auto path = std::filesystem::temp_directory_path() / ("holdfast-admin-" + std::to_string(::getpid()));
  config::Admin config;
  config.listen = config::ListenAddress{{}, 0, path};
  FakeSource source;
  asio::io_context context;
  {
    // Leaves its socket behind, as a process that is killed does.
    asio::local::stream_protocol::acceptor dead(context, asio::local::stream_protocol::endpoint(path));
  }
  {
    Server server(config, source);
    EXPECT_THROW(Server(config, source), std::runtime_error);
    asio::local::stream_protocol::socket socket(context);
    socket.connect(asio::local::stream_protocol::endpoint(path));
    asio::write(socket, asio::buffer(std::string("GET /healthz HTTP/1.1\r\nHost: anything\r\n\r\n")));
    beast::flat_buffer buffer;
    Response response;
    http::read(socket, buffer, response);
    EXPECT_EQ(response.result_int(), 200U);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace holdfast::admin
