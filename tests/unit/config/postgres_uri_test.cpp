// Which URIs are taken and what they mean, with libpq's own parser as the judge of both.
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/load.hpp"

namespace holdfast::config {
namespace {

using Options = std::map<std::string, std::string>;

/// What libpq reads from the URI; none where it refuses.
std::optional<Options> read_by_libpq(const std::string& uri) {
  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> parsed(PQconninfoParse(uri.c_str(), &error), PQconninfoFree);
  if (error != nullptr) PQfreemem(error);
  if (!parsed) return std::nullopt;
  Options options;
  for (const auto* option = parsed.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr) options[option->keyword] = option->val;
  }
  return options;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') parts.emplace_back();
    else parts.back() += c;
  }
  return parts;
}

/// The hosts with the defaults that a proxy fills in: 5432, and localhost where libpq takes its socket's folder.
std::vector<HostPort> hosts_of(Options options) {
  const auto hosts = split(options.contains("host") ? options["host"] : options["hostaddr"]), ports = split(options["port"]);
  std::vector<HostPort> found;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    const auto& port = ports.size() == 1 ? ports[0] : ports.at(i);
    found.push_back({hosts[i].empty() ? "localhost" : hosts[i], port.empty() ? std::uint16_t{5432} : static_cast<std::uint16_t>(std::stoi(port))});
  }
  return found;
}

void expect_same_meaning(const std::string& uri) {
  std::string error;
  const auto ours = parse_postgres_uri(uri, error);
  auto theirs = read_by_libpq(uri);
  ASSERT_TRUE(theirs) << uri << " is good, but libpq refuses it";
  ASSERT_TRUE(ours) << uri << ": " << error;
  EXPECT_EQ(ours->hosts, hosts_of(*theirs)) << uri << " " << ours->hosts[0].to_string();
  EXPECT_EQ(ours->user, (*theirs)["user"]) << uri;
  EXPECT_EQ(ours->password.reveal(), (*theirs)["password"]) << uri;
  EXPECT_EQ(ours->database, (*theirs)["dbname"].empty() ? (*theirs)["user"] : (*theirs)["dbname"]) << uri;
  EXPECT_EQ(ours->application_name, (*theirs)["application_name"]) << uri;
  EXPECT_EQ(ours->options, (*theirs)["options"]) << uri;
  EXPECT_EQ(ours->sslrootcert, (*theirs)["sslrootcert"]) << uri;
  EXPECT_EQ(ours->sslcert, (*theirs)["sslcert"]) << uri;
  EXPECT_EQ(ours->sslkey, (*theirs)["sslkey"]) << uri;
}

TEST(PostgresUri, means_what_libpq_takes_it_for) {
  for (const char* uri :
       {"postgres://", "postgresql://", "postgres:///", "postgres:///orders", "postgres://db", "postgres://db/", "postgres://db:5433",
        "postgres://db:5433/orders", "postgres://app@db", "postgres://app@", "postgres://app@/orders", "postgres://app:secret@db/orders",
        "postgres://app:@db", "postgres://:secret@db", "postgres://@db", "postgres://:@db", "postgresql://app:secret@db:5433/orders?sslmode=require",
        "postgres://a.db,b.db/orders", "postgres://a.db:1,b.db:2/orders", "postgres://a.db:1,b.db/orders", "postgres://a.db,b.db:2/orders",
        "postgres://a,b,c:9", "postgres://,", "postgres://a,,b/", "postgres://:5433/orders", "postgres://db:/orders", "postgres://[::1]",
        "postgres://[::1]:5433/orders", "postgres://app@[2001:db8::1],[::2]:5433,db/orders", "postgres://[::1]?user=app", "postgres://%2Ftmp/orders",
        "postgres://%2Fvar%2Frun%2Fpostgresql:5433/orders", "postgres:///orders?host=/tmp&port=5433", "postgres://db?host=other", "postgres://?host=a,b&port=1,2",
        "postgres://?host=a,b&port=1", "postgres://a%2Cb:1/", "postgres://db:54%333", "postgres://db?port=5433", "postgres://?hostaddr=127.0.0.1",
        "postgres://us%65r:p%40ss%3A%2F@db/or%20ders", "postgres://app@db/a/b", "postgres://app@db/a%3Fb", "postgres://app@db/a@b",
        "postgres://app:p:q@db", "postgres://app:p?q@db", "postgres://app:p?q=r&s@db/orders?user=b", "postgres://app:p@q@db/orders", "postgres://a,b@db",
        "postgres://a[b@db", "postgres://db?user=a&user=b", "postgres://a@db?user=b", "postgres://a:x@db?password=y", "postgres://db/a?dbname=b",
        "postgres://db?application_name=a%20b&options=-c%20geqo%3Doff", "postgres://db?sslrootcert=/r&sslcert=/c&sslkey=/k", "postgres://db?",
        "postgres://db/orders?", "postgres://db?user=a&", "postgres://db?user=", "postgres://db?us%65r=a", "postgres://db?password=%25", "postgres://db?ssl=true",
        "postgres://app:%F0%9F%98%80@db", "postgres://db?application_name=a?b", "postgres://db?application_name=a/b@c:d,e", "postgres://db#x/y"}) {
    expect_same_meaning(uri);
  }
}

TEST(PostgresUri, refuses_what_libpq_refuses_with_a_sentence) {
  for (const char* uri :
       {"postgres", "postgres:/", "postgres:/db", "Postgres://db", "POSTGRES://db", " postgres://db", "postgresqll://db", "mysql://db", "db",
        "postgres://[::1", "postgres://[]", "postgres://[::1]x", "postgres://[::1]5432", "postgres://a,[::1", "postgres://app@[::1/orders", "postgres://%",
        "postgres://%2", "postgres://%zz", "postgres://%00", "postgres://app:%@db", "postgres://app:%4@db", "postgres://app%zz@db", "postgres://db/%zz",
        "postgres://db/%00", "postgres://db:%zz", "postgres://db?user", "postgres://db?user=a&password", "postgres://db?&user=a", "postgres://db?&",
        "postgres://db?user=a&&password=b", "postgres://db?user=a=b", "postgres://db?=", "postgres://db?=a", "postgres://db?no_such=1", "postgres://db?User=a",
        "postgres://db?ssl=false", "postgres://db?ssl=1", "postgres://db?user=%zz", "postgres://db?user=%0", "postgres://db?%zz=a", "postgres://db?user=a?b=c"}) {
    std::string error;
    EXPECT_FALSE(read_by_libpq(uri)) << uri << " is refused, but libpq takes it";
    EXPECT_FALSE(parse_postgres_uri(uri, error)) << uri;
    EXPECT_GT(error.size(), 20U) << uri;
  }
}

// libpq looks at these only once it connects, and refuses before it has reached anybody.
TEST(PostgresUri, refuses_values_that_libpq_refuses_when_it_connects) {
  for (const char* uri :
       {"postgres://127.0.0.1:0", "postgres://127.0.0.1:65536", "postgres://127.0.0.1:-1", "postgres://127.0.0.1:x", "postgres://127.0.0.1:1x",
        "postgres://127.0.0.1:1:2", "postgres://127.0.0.1:99999999999999999999", "postgres://127.0.0.1,127.0.0.2?port=1,2,3",
        "postgres://127.0.0.1?port=1,2", "postgres://127.0.0.1?sslmode=sometimes", "postgres://127.0.0.1?sslmode=", "postgres://127.0.0.1?sslmode=REQUIRE",
        "postgres://127.0.0.1?target_session_attrs=x", "postgres://127.0.0.1?target_session_attrs="}) {
    const std::unique_ptr<PGconn, void (*)(PGconn*)> connection(PQconnectStart(uri), PQfinish);
    const std::string told = PQerrorMessage(connection.get());
    ASSERT_EQ(PQstatus(connection.get()), CONNECTION_BAD) << uri;
    ASSERT_EQ(told.find("connection to server"), std::string::npos) << uri << ": " << told;
    std::string error;
    EXPECT_FALSE(parse_postgres_uri(uri, error)) << uri;
    EXPECT_GT(error.size(), 20U) << uri;
  }
}

TEST(PostgresUri, every_proper_prefix_is_taken_or_refused_as_libpq_does) {
  const std::string whole = "postgres://us%65r:p%40ss@[::1]:5433,db:5434/or%20ders?application_name=a%20b&sslrootcert=/r&user=other";
  for (std::size_t length = 1; length <= whole.size(); ++length) {
    const auto uri = whole.substr(0, length);
    std::string error;
    // Before the '@' the password stands where a port would, which libpq looks at only once it connects.
    if (length > 11 && uri.find('@') == std::string::npos) continue;
    ASSERT_EQ(parse_postgres_uri(uri, error).has_value(), read_by_libpq(uri).has_value()) << uri << " " << error;
    if (read_by_libpq(uri)) expect_same_meaning(uri);
  }
}

TEST(PostgresUri, knows_every_parameter_of_this_libpq) {
  const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> known(PQconndefaults(), PQconninfoFree);
  const Options words{{"sslmode", "require"}, {"target_session_attrs", "any"}, {"connect_timeout", "5"}, {"port", "1"}, {"sslnegotiation", "direct"}, {"channel_binding", "require"}, {"require_auth", ""}};
  for (const auto* option = known.get(); option->keyword != nullptr; ++option) {
    const auto word = words.find(option->keyword);
    std::string error;
    EXPECT_TRUE(parse_postgres_uri(std::string("postgres://db?") + option->keyword + "=" + (word == words.end() ? "1" : word->second), error))
        << option->keyword << ": " << error;
  }
}

}  // namespace
}  // namespace holdfast::config
