// The sockets, the time limits and the sentences for what can go wrong.
#include "cli/admin_client.hpp"

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>

#include <algorithm>
#include <stdexcept>

#include "config/load.hpp"

namespace holdfast::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace json = boost::json;
using Generic = asio::generic::stream_protocol;

constexpr std::chrono::seconds answer_timeout{10};
constexpr std::chrono::seconds silence_max{60};  // of a stream: the proxy sends a sign of life four times as often

/// Strings of the error object that every refusal of the API carries; empty where the answer has none.
struct Refusal {
  std::string code, message;
};

Refusal refusal_of(const std::string& body) {
  boost::system::error_code failed;
  const auto value = json::parse(body, failed);
  if (failed || !value.is_object()) return {};
  const auto* error = value.get_object().if_contains("error");
  if (error == nullptr || !error->is_object()) return {};
  const auto text = [&](const char* key) {
    const auto* found = error->get_object().if_contains(key);
    return found != nullptr && found->is_string() ? std::string(found->get_string()) : std::string();
  };
  return {text("code"), text("message")};
}

[[noreturn]] void fail_to_reach(const AdminAddress& address, const boost::system::error_code& error) {
  const bool late = error == beast::error::timeout;
  const bool other = error.category() == make_error_code(http::error::bad_version).category();
  throw std::runtime_error("the admin port at " + address.given + " does not answer: " +
                           (late    ? "nothing came within " + std::to_string(answer_timeout.count()) + " s"
                            : other ? "what came is no HTTP (" + error.message() + ")"
                                    : error.message()));
}

}  // namespace

AdminAddress AdminAddress::parse(const std::string& text) {
  const auto wrong = [&](const std::string& why) -> std::runtime_error {
    return std::runtime_error("--admin " + text + ": " + why);
  };
  AdminAddress address;
  address.given = text;
  if (text.starts_with("unix:")) {
    address.unix_path = text.substr(5);
    address.authority = "localhost";
    return address;
  }
  constexpr std::string_view http_scheme = "http://", https_scheme = "https://";
  address.tls = text.starts_with(https_scheme);
  auto rest = address.tls ? text.substr(https_scheme.size()) : text.starts_with(http_scheme) ? text.substr(http_scheme.size()) : text;
  if (rest.ends_with('/')) rest.pop_back();
  const auto colon = rest.rfind(':');
  const bool has_port = colon != std::string::npos && colon + 1 < rest.size() && rest.find(']', colon) == std::string::npos &&
                        std::all_of(rest.begin() + static_cast<std::ptrdiff_t>(colon) + 1, rest.end(),
                                    [](char c) { return c >= '0' && c <= '9'; });
  const bool is_plain = std::ranges::all_of(rest, [](char c) { return c > ' ' && c < 0x7f; });
  if (!has_port || !is_plain || colon == 0 || rest.find_first_of("/@?#") != std::string::npos) {
    throw wrong("expected http://HOST:PORT, https://HOST:PORT or unix:PATH");
  }
  address.authority = rest;
  address.host = rest.substr(0, colon);
  address.port = rest.substr(colon + 1);
  if (address.host.starts_with('[') && address.host.ends_with(']')) {
    address.host = address.host.substr(1, address.host.size() - 2);
  }
  return address;
}

/// One connection with one request on it. Each wait is an asynchronous operation run to its end, since only those have
/// time limits.
class AdminClient::Exchange {
 public:
  explicit Exchange(const AdminClient& client) : client_(client), stream_(context_) {
    parser_.body_limit(boost::none);
    if (client.address_.tls) prepare_tls();
  }

  /// Sends the request and reads the header of the answer.
  void begin(Method method, const std::string& target) {
    connect();
    http::request<http::empty_body> request(method == Method::get ? http::verb::get : http::verb::post, target, 11);
    request.set(http::field::host, client_.address_.authority);
    request.set(http::field::user_agent, "holdfast");
    if (!client_.token_.empty()) request.set(http::field::authorization, "Bearer " + client_.token_);
    request.prepare_payload();
    check(wait([&](auto done) { on_stream([&](auto& to) { http::async_write(to, request, std::move(done)); }); }));
    check(wait([&](auto done) {
      on_stream([&](auto& from) { http::async_read_header(from, buffer_, parser_, std::move(done)); });
    }));
  }

  [[nodiscard]] unsigned status() const { return parser_.get().result_int(); }
  [[nodiscard]] std::string content_type() const { return parser_.get()[http::field::content_type]; }

  std::string body() {
    check(wait([&](auto done) { on_stream([&](auto& from) { http::async_read(from, buffer_, parser_, std::move(done)); }); }));
    return parser_.get().body();
  }

  bool stream(std::optional<std::chrono::milliseconds> quiet, const Sink& sink) {
    stream_.expires_after(quiet.value_or(silence_max));
    parser_.eager(true);
    while (!parser_.is_done()) {
      const auto error = wait([&](auto done) {
        on_stream([&](auto& from) { http::async_read_some(from, buffer_, parser_, std::move(done)); });
      });
      auto& body = parser_.get().body();
      const bool news = !body.empty() && sink(body);
      body.clear();
      if (error) return error == beast::error::timeout;
      if (news || !quiet) stream_.expires_after(quiet.value_or(silence_max));
    }
    return false;
  }

 private:
  void connect() {
    const auto& address = client_.address_;
    boost::system::error_code error;
    stream_.expires_after(answer_timeout);
    if (!address.unix_path.empty()) {
      const asio::local::stream_protocol::endpoint endpoint(address.unix_path);
      return check(wait([&](auto done) { stream_.async_connect(Generic::endpoint(endpoint), std::move(done)); }));
    }
    asio::ip::tcp::resolver resolver(context_);
    const auto results = resolver.resolve(address.host, address.port, error);
    check(error);
    for (const auto& result : results) {
      error = wait([&](auto done) { stream_.async_connect(Generic::endpoint(result.endpoint()), std::move(done)); });
      if (!error) break;
      stream_.socket().close();
    }
    check(error);
    stream_.socket().set_option(asio::socket_base::keep_alive(true), error);
    if (tls_) check(wait([&](auto done) { tls_->async_handshake(asio::ssl::stream_base::client, std::move(done)); }));
  }

  void prepare_tls() {
    const auto& files = client_.tls_;
    boost::system::error_code error;
    const auto use = [&error](const char* flag, const std::string& file) {
      if (error) throw std::runtime_error(std::string(flag) + " " + file + ": " + error.message());
    };
    if (files.ca_file.empty()) {
      tls_context_.set_default_verify_paths(error);
    } else {
      tls_context_.load_verify_file(files.ca_file, error);
    }
    use("--ca-file", files.ca_file);
    if (!files.cert_file.empty()) {
      tls_context_.use_certificate_chain_file(files.cert_file, error);
      use("--cert-file", files.cert_file);
      const auto& key_file = files.key_file.empty() ? files.cert_file : files.key_file;
      tls_context_.use_private_key_file(key_file, asio::ssl::context::pem, error);
      use("--key-file", key_file);
    }
    tls_.emplace(stream_, tls_context_);
    tls_->set_verify_mode(asio::ssl::verify_peer, error);
    tls_->set_verify_callback(asio::ssl::host_name_verification(client_.address_.host), error);
  }

  /// Calls `use` with what is spoken through: the socket, or TLS over it.
  template <class Use>
  void on_stream(Use use) {
    tls_ ? use(*tls_) : use(stream_);
  }

  template <class Start>
  boost::system::error_code wait(Start start) {
    boost::system::error_code result;
    start([&result](boost::system::error_code error, auto&&...) { result = error; });
    context_.restart();
    context_.run();
    return result;
  }

  void check(const boost::system::error_code& error) const {
    if (error) fail_to_reach(client_.address_, error);
  }

  const AdminClient& client_;
  asio::io_context context_{1};
  beast::basic_stream<Generic> stream_;
  asio::ssl::context tls_context_{asio::ssl::context::tls_client};
  std::optional<asio::ssl::stream<beast::basic_stream<Generic>&>> tls_;  // in TLS
  beast::flat_buffer buffer_;
  http::response_parser<http::string_body> parser_;
};

namespace {

[[noreturn]] void refuse(const AdminAddress& address, const std::string& token_file, const std::string& target,
                         unsigned status, const std::string& body) {
  const auto refusal = refusal_of(body);
  if (status == 401 && token_file.empty()) {
    throw std::runtime_error("the admin port at " + address.given +
                             " wants a token: name its file with --token-file or HOLDFAST_ADMIN_TOKEN_FILE");
  }
  if (status == 401) throw std::runtime_error("the admin port at " + address.given + " refuses the token of " + token_file);
  if (refusal.code == "unknown_connection") throw std::runtime_error(refusal.message);
  if (status == 404) {
    throw std::runtime_error(address.given + " has no " + target.substr(0, target.find('?')) +
                             ": is it the admin port of a holdfast of this version?");
  }
  throw std::runtime_error("the admin port at " + address.given + " answered " + std::to_string(status) +
                           (refusal.message.empty() ? "" : ": " + refusal.message));
}

}  // namespace

AdminClient::AdminClient(const std::string& address, const std::string& token_file, AdminTls tls)
    : address_(AdminAddress::parse(address)), token_file_(token_file), tls_(std::move(tls)) {
  if (token_file.empty()) return;
  std::string error;
  auto token = config::read_secret_file(token_file, error);
  if (!token) throw std::runtime_error("the token: " + error);
  if (token->empty()) throw std::runtime_error("the token: " + token_file + " is empty");
  // A line break would end the header and begin another.
  if (!std::ranges::all_of(*token, [](char c) { return static_cast<unsigned char>(c) >= ' ' && c != 0x7f; })) {
    throw std::runtime_error("the token: " + token_file + " has more than one line, or control characters");
  }
  token_ = std::move(*token);
}

std::string AdminClient::ask(Method method, const std::string& target) const {
  Exchange exchange(*this);
  exchange.begin(method, target);
  auto body = exchange.body();
  if (exchange.status() / 100 != 2) refuse(address_, token_file_, target, exchange.status(), body);
  return body;
}

bool AdminClient::stream(const std::string& target, std::optional<std::chrono::milliseconds> quiet, const Sink& sink) const {
  Exchange exchange(*this);
  exchange.begin(Method::get, target);
  if (exchange.status() != 200) refuse(address_, token_file_, target, exchange.status(), exchange.body());
  if (!exchange.content_type().starts_with("text/event-stream")) {
    throw std::runtime_error(address_.given + " answered with something else than events");
  }
  return exchange.stream(quiet, sink);
}

std::string percent_encoded(std::string_view segment) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : segment) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                       c == '.' || c == '~';
    if (plain) {
      encoded += c;
    } else {
      encoded += {'%', digits[byte / 16U], digits[byte % 16U]};
    }
  }
  return encoded;
}

}  // namespace holdfast::cli
