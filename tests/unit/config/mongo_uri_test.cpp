// Connection strings of MongoDB's drivers: what is taken from them, and what is refused rather than passed over.
#include <gtest/gtest.h>

#include <string>

#include "config/load.hpp"

namespace holdfast::config {
namespace {

MongoUri good(const std::string& text) {
  std::string error;
  auto uri = parse_mongo_uri(text, error);
  EXPECT_TRUE(uri) << text << ": " << error;
  return uri.value_or(MongoUri{});
}

std::string error_of(const std::string& text) {
  std::string error;
  EXPECT_FALSE(parse_mongo_uri(text, error)) << text;
  EXPECT_FALSE(error.empty()) << text;
  return error;
}

TEST(MongoUri, hosts_have_the_usual_port_where_they_name_none) {
  const auto uri = good("mongodb://a,b:1,[::1]:27018,[::2]");
  ASSERT_EQ(uri.hosts.size(), 4U);
  EXPECT_EQ(uri.hosts[0].to_string(), "a:27017");
  EXPECT_EQ(uri.hosts[1].to_string(), "b:1");
  EXPECT_EQ(uri.hosts[2].to_string(), "[::1]:27018");
  EXPECT_EQ(uri.hosts[3].to_string(), "[::2]:27017");
  EXPECT_TRUE(uri.user.empty());
}

TEST(MongoUri, compressors_are_a_list_in_the_order_in_which_they_are_wanted) {
  EXPECT_TRUE(good("mongodb://a").compressors.empty());
  const auto uri = good("mongodb://a/?compressors=snappy,zstd,snappy,zlib&zlibCompressionLevel=9");
  EXPECT_EQ(uri.compressors, (std::vector<std::string>{"snappy", "zstd", "zlib"}));
  EXPECT_EQ(uri.zlib_level, 9);
  EXPECT_EQ(error_of("mongodb://a/?compressors=zlib,lz4"), "compressors must be a list of zstd, zlib and snappy");
  for (const auto* level : {"10", "-2", "x", ""}) {
    EXPECT_EQ(error_of(std::string("mongodb://a/?zlibCompressionLevel=") + level), "zlibCompressionLevel must be a number from -1 to 9");
  }
}

TEST(MongoUri, a_login_is_decoded_and_goes_to_its_database) {
  const auto uri = good("mongodb://app:p%40s%3As@db/shop?replicaSet=rs0&appName=web%20shop");
  EXPECT_EQ(uri.user, "app");
  EXPECT_EQ(uri.password.reveal(), "p@s:s");
  EXPECT_EQ(uri.auth_database, "shop");
  EXPECT_EQ(uri.replica_set, "rs0");
  EXPECT_EQ(uri.application_name, "web shop");
  EXPECT_EQ(good("mongodb://app:x@db/shop?authSource=users").auth_database, "users");
  EXPECT_EQ(good("mongodb://app:x@db").auth_database, "admin");
  EXPECT_EQ(good("mongodb://app:x@db/?authMechanism=SCRAM-SHA-256").user, "app");
}

TEST(MongoUri, options_know_no_case_and_those_of_a_drivers_own_pools_mean_nothing) {
  const auto uri = good("mongodb://db/?REPLICASET=rs&retryWrites=false&maxPoolSize=5&w=majority&connectTimeoutMS=1500&directconnection=true");
  EXPECT_EQ(uri.replica_set, "rs");
  EXPECT_EQ(uri.connect_timeout, milliseconds(1500));
  EXPECT_TRUE(uri.direct);
}

TEST(MongoUri, tls_verifies_chain_and_name_unless_it_is_told_otherwise) {
  EXPECT_FALSE(good("mongodb://db").tls);
  const auto plain = good("mongodb://db/?ssl=true");
  EXPECT_TRUE(plain.tls && plain.tls_verify && plain.tls_verify_host);
  const auto with_authority = good("mongodb://db/?tlsCAFile=%2Fca.pem&tlsAllowInvalidHostnames=true");
  EXPECT_EQ(with_authority.tls_ca_file, "/ca.pem");
  EXPECT_TRUE(with_authority.tls && with_authority.tls_verify && !with_authority.tls_verify_host) << "the file means TLS";
  const auto lax = good("mongodb://db/?tls=true&tlsInsecure=true");
  EXPECT_FALSE(lax.tls_verify || lax.tls_verify_host);
}

TEST(MongoUri, names_how_the_proxy_logs_in) {
  EXPECT_EQ(good("mongodb://a:b@db").mechanism, MongoMechanism::negotiated);
  EXPECT_EQ(good("mongodb://a:b@db/?authMechanism=SCRAM-SHA-1").mechanism, MongoMechanism::scram_sha_1);
  const auto by_certificate = good("mongodb://db/?authMechanism=MONGODB-X509&tlsCertificateKeyFile=me.pem");
  EXPECT_EQ(by_certificate.mechanism, MongoMechanism::x509);
  EXPECT_EQ(by_certificate.auth_database, "$external");
}

TEST(MongoUri, what_cannot_be_done_is_refused) {
  for (const char* text : {"mongodb://db/?tls=false&tlsCAFile=x", "mongodb://db/?authMechanism=MONGODB-X509",
                           "mongodb://a:b@db/?authMechanism=MONGODB-X509&tlsCertificateKeyFile=x", "mongodb://a:b@db/?authMechanism=PLAIN",
                           "mongodb://db/?authMechanism=MONGODB-X509&tlsCertificateKeyFile=x&authSource=admin",
                           "mongodb://db/?loadBalanced=true", "mongodb://%2Ftmp%2Fmongodb-27017.sock",
                           "mongodb://a,b/?directConnection=true", "mongodb://db/?noSuchOption=1"}) {
    static_cast<void>(error_of(text));
  }
}

TEST(MongoUri, what_is_none_is_refused_without_its_password) {
  for (const char* text : {"", "mongodb://", "mongodb://:27017", "mongodb://a,", "mongodb://a:0", "mongodb://a:70000", "mongodb://a:x",
                           "mongodb://[::1", "mongodb://@a", "mongodb://a/?x", "mongodb://a/%zz", "http://a",
                           "mongodb://app:secret@a:port", "mongodb://app:secret@a/?tls=maybe", "mongodb://app:secret%@a"}) {
    EXPECT_EQ(error_of(text).find("secret"), std::string::npos) << text;
  }
}

// Else a piece of the password would be taken for a host, and looked up in DNS and shown.
TEST(MongoUri, a_login_with_a_character_that_must_be_encoded_is_told_so_without_any_of_it) {
  for (const char* text : {"mongodb://user:p/ss@a:27017/", "mongodb://user:p?ss@a:27017/", "mongodb://user:p@ss/w0rd@host", "mongodb://user:12/34@a",
                           "mongodb://user:p@ss/w0rd@host/db?tls=true", "mongodb://user:12?ss=x@host/", "mongodb://us/er:p@a", "mongodb+srv://user:p/ss@a.b.c/",
                           "mongodb+srv://user:p@a.b.c/d@host", "mongodb://user:p@s?tls=true&w0rd@host", "mongodb://user:p?a%zz@host"}) {
    EXPECT_EQ(error_of(text), "the user or password holds a character that must be percent-encoded (/ is %2F, ? is %3F, @ is %40, : is %3A)") << text;
  }
}

// As PyMongo takes them.
TEST(MongoUri, an_at_sign_in_the_value_of_an_option_is_part_of_it) {
  const auto uri = good("mongodb://app:x@db/shop?appName=a@b&tlsCAFile=/run/ca@2.pem;retryWrites=true");
  EXPECT_EQ(uri.application_name, "a@b");
  EXPECT_EQ(uri.tls_ca_file, "/run/ca@2.pem");
  EXPECT_EQ(good("mongodb://db?appName=a@b").user, "");
  EXPECT_EQ(error_of("mongodb://db:x/?appName=a@b"), "a port in a URI must be a number from 1 to 65535");
}

}  // namespace
}  // namespace holdfast::config
