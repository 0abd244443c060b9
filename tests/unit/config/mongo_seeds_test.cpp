// mongodb+srv:// URIs, and what DNS may add to them.
#include <gtest/gtest.h>

#include <string>

#include "config/load.hpp"

namespace holdfast::config {
namespace {

MongoUri uri_of(const std::string& text) {
  std::string error;
  auto uri = parse_mongo_uri(text, error);
  EXPECT_TRUE(uri) << text << ": " << error;
  return uri.value_or(MongoUri{});
}

std::string mistake_in(const std::string& text) {
  std::string error;
  EXPECT_FALSE(parse_mongo_uri(text, error)) << text;
  return error;
}

const std::vector<HostPort> two{{"M0.db.test.", 27018}, {"m1.db.test", 27017}};

std::string refusal(const MongoUri& uri, const std::vector<HostPort>& targets, const std::vector<std::string>& texts = {}) {
  std::string error;
  EXPECT_FALSE(with_seeds(uri, targets, texts, error));
  return error;
}

MongoUri seeded(const MongoUri& uri, const std::vector<std::string>& texts = {}) {
  std::string error;
  auto found = with_seeds(uri, two, texts, error);
  EXPECT_TRUE(found) << error;
  return found.value_or(MongoUri{});
}

TEST(MongoSeeds, a_name_stands_for_the_hosts_and_tls_is_on_unless_it_is_switched_off) {
  const auto uri = uri_of("mongodb+srv://app:secret@Set.DB.test./shop?srvServiceName=other&srvMaxHosts=2");
  ASSERT_TRUE(uri.srv);
  EXPECT_EQ(uri.srv->name(), "_other._tcp.set.db.test");
  EXPECT_EQ(uri.srv->hosts_max, 2U);
  EXPECT_EQ(uri.hosts.size(), 1U);
  EXPECT_TRUE(uri.tls);
  EXPECT_EQ(uri.auth_database, "shop");
  EXPECT_FALSE(uri_of("mongodb+srv://set.db.test/?tls=false").tls);
  EXPECT_FALSE(uri_of("mongodb://set.db.test/").srv);
}

TEST(MongoSeeds, a_name_that_cannot_be_looked_up_is_a_mistake) {
  for (const auto* host : {"localhost", "db.test", "a..test", ".db.test", ""}) {
    EXPECT_EQ(mistake_in(std::string("mongodb+srv://") + host + "/"),
              "the host of a mongodb+srv:// URI needs at least three parts, as in db.example.com") << host;
  }
  for (const auto* host : {"a.db.test:1", "a.db.test,b.db.test", "[::1]"}) {
    EXPECT_EQ(mistake_in(std::string("mongodb+srv://") + host + "/"), "a mongodb+srv:// URI names one host, without a port") << host;
  }
  EXPECT_EQ(mistake_in("mongodb+srv://a.db.test/?directConnection=true"), "directConnection=true does not go with mongodb+srv://");
  EXPECT_EQ(mistake_in("mongodb+srv://a.db.test/?srvMaxHosts=1&replicaSet=rs"), "srvMaxHosts does not go with replicaSet");
  EXPECT_EQ(mistake_in("mongodb+srv://a.db.test/?srvServiceName=a.b"),
            "srvServiceName must be a service's name: up to 15 letters, digits and hyphens");
  EXPECT_EQ(mistake_in("mongodb://a.db.test/?srvMaxHosts=1"), "srvMaxHosts goes with mongodb+srv:// only");
}

TEST(MongoSeeds, hosts_of_the_same_domain_are_taken_and_no_others) {
  const auto uri = uri_of("mongodb+srv://set.db.test/");
  const auto found = seeded(uri);
  EXPECT_EQ(found.hosts, (std::vector<HostPort>{{"m0.db.test", 27018}, {"m1.db.test", 27017}}));
  for (const auto* other : {"m0.other.test", "db.test", "evildb.test", "m0.db.test.evil.org", ""}) {
    EXPECT_NE(refusal(uri, {two[1], {other, 1}}).find("which is outside of db.test"), std::string::npos) << other;
  }
  EXPECT_EQ(refusal(uri, {}), "_mongodb._tcp.set.db.test names no host");
  EXPECT_EQ(seeded(uri_of("mongodb+srv://set.db.test/?srvMaxHosts=1")).hosts.size(), 1U);
}

std::string names_of(const std::vector<HostPort>& hosts) {
  std::string names;
  for (const auto& host : hosts) names += (names.empty() ? "" : " ") + host.to_string();
  return names;
}

TEST(MongoSeeds, a_later_look_up_adds_and_removes_hosts) {
  const auto srv = *uri_of("mongodb+srv://set.db.test/").srv;
  std::string error;
  const std::vector<HostPort> known{{"m0.db.test", 27018}, {"m2.db.test", 27017}};
  EXPECT_EQ(names_of(polled_seeds(srv, known, {two[1], two[0], two[0]}, error)), "m0.db.test:27018 m1.db.test:27017");
  EXPECT_EQ(names_of(polled_seeds(srv, known, {{"m2.db.test", 1}}, error)), "m2.db.test:1") << "another port is another host";
  EXPECT_EQ(error, "");
}

TEST(MongoSeeds, a_later_look_up_passes_over_hosts_of_other_domains_and_keeps_the_list_where_nothing_is_left) {
  const auto srv = *uri_of("mongodb+srv://set.db.test/").srv;
  std::string error;
  EXPECT_EQ(names_of(polled_seeds(srv, two, {{"m0.evil.test", 1}, two[1]}, error)), "m1.db.test:27017");
  EXPECT_EQ(error, "_mongodb._tcp.set.db.test names \"m0.evil.test\", which is outside of db.test");
  EXPECT_EQ(names_of(polled_seeds(srv, two, {{"m0.evil.test", 1}}, error)), "");
  error.clear();
  EXPECT_EQ(names_of(polled_seeds(srv, two, {}, error)), "");
  EXPECT_EQ(error, "_mongodb._tcp.set.db.test names no host");
}

TEST(MongoSeeds, a_later_look_up_keeps_the_hosts_that_it_may_and_fills_up_with_new_ones) {
  const auto srv = *uri_of("mongodb+srv://set.db.test/?srvMaxHosts=2").srv;
  std::string error;
  const std::vector<HostPort> all{{"a.db.test", 1}, {"b.db.test", 1}, {"c.db.test", 1}, {"d.db.test", 1}};
  EXPECT_EQ(names_of(polled_seeds(srv, {all[2], all[3]}, all, error)), "c.db.test:1 d.db.test:1");
  EXPECT_EQ(names_of(polled_seeds(srv, {all[3], two[1]}, all, error)), "d.db.test:1 a.db.test:1");
  EXPECT_EQ(error, "");
}

TEST(MongoSeeds, a_text_names_the_set_and_the_login_s_database_where_the_uri_does_not) {
  const std::vector<std::string> text{"authSource=admin2&replicaSet=rs%31&loadBalanced=false"};
  auto found = seeded(uri_of("mongodb+srv://app:x@set.db.test/shop"), text);
  EXPECT_EQ(found.auth_database, "admin2");
  EXPECT_EQ(found.replica_set, "rs1");
  found = seeded(uri_of("mongodb+srv://app:x@set.db.test/shop?authSource=own&replicaSet=mine"), text);
  EXPECT_EQ(found.auth_database, "own");
  EXPECT_EQ(found.replica_set, "mine");
}

TEST(MongoSeeds, a_text_that_says_anything_else_is_refused) {
  const auto uri = uri_of("mongodb+srv://set.db.test/");
  for (const auto* text : {"readPreference=nearest", "authSource", "authSource=", "loadBalanced=true", "replicaSet=%zz", "authSource=a&tls=false"}) {
    EXPECT_NE(refusal(uri, two, {text}).find("something else than"), std::string::npos) << text;
  }
  EXPECT_NE(refusal(uri, two, {"authSource=a", "replicaSet=b"}).find("several TXT records"), std::string::npos);
  EXPECT_NE(refusal(uri_of("mongodb+srv://set.db.test/?srvMaxHosts=1"), two, {"replicaSet=b"}).find("srvMaxHosts"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::config
