// No password of a URI is shown, not even where the URI is none.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "config/load.hpp"

namespace holdfast::config {
namespace {

TEST(Redact, shows_a_uri_with_stars_for_its_password) {
  const std::pair<const char*, const char*> rows[] = {
      {"postgres://app:hush@db:5432/orders", "postgres://app:***@db:5432/orders"},
      {"postgres://app:hush@db/x?sslmode=require", "postgres://app:***@db/x?sslmode=require"},
      {"postgres://:hush@db", "postgres://:***@db"},
      {"postgres://app:hush@", "postgres://app:***@"},
      {"mongodb+srv://app:hush@db/x?tls=true", "mongodb+srv://app:***@db/x?tls=true"},
      {"postgres://db/x?password=hush", "postgres://db/x?password=***"},
      {"postgres://db/x?user=a&password=hush&sslmode=require", "postgres://db/x?user=a&password=***&sslmode=require"},
      {"postgres://app:hush@db/x?password=hush", "postgres://app:***@db/x?password=***"}};
  for (const auto& [uri, shown] : rows) EXPECT_EQ(redact_uri(uri), shown);
}

TEST(Redact, leaves_a_uri_without_a_password_as_it_is) {
  for (const char* uri : {"postgres://app@db-0.db:5432,db-1.db:5432/orders?sslmode=verify-full", "postgres://db:5432", "postgres://",
                          "postgres://app@[::1]:5432/x", "postgres://app@db:5432/x?options=a@b", "postgres://db:5432/x?application_name=a@b",
                          "postgres://db/x?sslkey=/run/key", "nonsense", "", "/etc/holdfast.yaml"}) {
    EXPECT_EQ(redact_uri(uri), uri);
  }
}

TEST(Redact, hides_a_password_whatever_stands_in_it_or_around_it) {
  for (const std::string& uri :
       {std::string("postgres://app:hush@hush@db/x"), std::string("postgres://app:hu/hush@db/x"), std::string("postgres://app:hu?hush@db/x"),
        std::string("postgres://app:hu?a=hush@db/x"), std::string("postgres://app:hush:hush@db"), std::string("postgres://a@server:hush@db/x"),
        std::string("postgres://db/x?sslpassword=hush&password=hush"), std::string("postgres://db/x?password=hush&password=hush"),
        std::string("postgres://db/x?p%61ssword=hush"), std::string("postgres://db?password=hush"), std::string("postgres://app:hush@db?password=hush"),
        std::string("mongodb://db/x?tlsCertificateKeyFilePassword=hush"), std::string("postgres://app:hu#hush@db"),
        std::string("postgres://app:%zzhush@db"), std::string("other://app:hush@db")}) {
    EXPECT_EQ(redact_uri(uri).find("hush"), std::string::npos) << redact_uri(uri);
  }
}

TEST(Redact, done_twice_changes_nothing_more) {
  for (const char* uri : {"postgres://app:hush@db/x?password=hush&a=b", "postgres://app:h@h@db", "postgres://app@db"}) {
    EXPECT_EQ(redact_uri(redact_uri(uri)), redact_uri(uri));
  }
}

}  // namespace
}  // namespace holdfast::config
