// Where passwords come from, in which order, and that none of them reaches a message.
#include <gtest/gtest.h>

#include <concepts>
#include <ostream>
#include <string>

#include "loading.hpp"

namespace holdfast::config {
namespace {

template <class T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };
static_assert(!Printable<Secret>);
static_assert(!std::convertible_to<Secret, std::string> && !std::convertible_to<std::string, Secret>);

Loaded connection(const Folder& folder, const std::string& more, const std::string& upstream, const Environment& environment = {}) {
  return load_text(folder, one_connection(more, upstream), environment);
}

std::string password(const Loaded& loaded) {
  EXPECT_TRUE(loaded.ok()) << all_lines(loaded);
  return loaded.config.connections.at(0).postgres.password.reveal();
}

TEST(Secrets, of_a_connection_come_from_file_then_environment_then_uri_then_passfile) {
  const Folder folder;
  const auto file = "    password_file: " + folder.write("password", "of-file\n") + "\n";
  const std::string env = "    password_env: ORDERS_PASSWORD\n", uri = "postgres://app:of-uri@db/orders", bare = "postgres://app@db/orders";
  const Environment environment{{"ORDERS_PASSWORD", "of-env"}, {"PGPASSFILE", folder.write("pgpass", "db:5432:orders:app:of-passfile\n")}};
  EXPECT_EQ(password(connection(folder, file + env, uri, environment)), "of-file");
  EXPECT_EQ(password(connection(folder, env, uri, environment)), "of-env");
  EXPECT_EQ(password(connection(folder, "", uri, environment)), "of-uri");
  EXPECT_EQ(password(connection(folder, "", bare, environment)), "of-passfile");
  EXPECT_EQ(password(connection(folder, "", bare)), "");
}

TEST(Secrets, in_a_file_end_at_the_last_line_break) {
  const Folder folder;
  for (const std::string& content : {std::string("a b\n"), std::string("a b"), std::string("a b\r\n"), std::string("a b\n\n")}) {
    EXPECT_EQ(password(connection(folder, "    password_file: " + folder.write("p", content) + "\n", "postgres://app@db")), "a b");
  }
}

TEST(Secrets, that_cannot_be_read_or_are_empty_are_one_mistake_each) {
  const Folder folder;
  for (const auto& line : {"password_file: " + folder.at("nothing"), "password_file: " + folder.write("empty", ""),
                           "password_file: " + folder.write("break", "\n"), "password_file: " + folder.at(""), std::string("password_env: NO_SUCH")}) {
    EXPECT_EQ(connection(folder, "    " + line + "\n", "postgres://app@db").mistakes.size(), 1U) << line;
  }
}

TEST(Secrets, a_passfile_that_others_may_read_is_left_alone_with_a_warning) {
  const Folder folder;
  const auto loaded = connection(folder, "", "postgres://app@db/orders", {{"PGPASSFILE", folder.write("pgpass", "*:*:*:*:s3cret\n", 0644)}});
  EXPECT_EQ(password(loaded), "");
  ASSERT_EQ(loaded.warnings.size(), 1U);
  EXPECT_EQ(loaded.warnings[0].origin, folder.at("pgpass"));
}

TEST(Secrets, never_stand_in_a_message_whatever_else_is_wrong) {
  const Folder folder;
  const std::string secret = "hush-hush";
  const auto file = folder.write("secret", secret + "\n");
  for (const std::string& uri :
       {"postgres://app:" + secret + "@db/orders?sslmode=sometimes", "postgres://app:" + secret + "@db:port/orders", "postgres://app:" + secret + "@[::1/x",
        "postgres://app:" + secret + "@db/x?no_such=1", "postgres://app:" + secret + "%zz@db", "postgres://app:%zz" + secret + "@db",
        "postgres://db?password=" + secret + "&sslmode=x", "postgres://app:x/" + secret + "@db", "postgres://app:" + secret + "@db,other:1:2",
        "mysql://app:" + secret + "@db"}) {
    const auto loaded = load_text(folder, "nonsense: 1\nadmin: {listen: 10.0.0.1:1, token_file: " + file + ", x: 1}\nnotify: [{secret_file: " + file +
                                              "}]\n" + one_connection("    max_clients: x\n    users: [{name: a, scram: \"" + secret +
                                              "\"}, {name: b, password_file: " + file + "}, {name: b, password_env: HUSH}]\n", "\"" + uri + "\""),
                                  {{"HUSH", secret}}, {"connections.orders.replay=x"});
    EXPECT_GE(loaded.mistakes.size(), 6U);
    std::string shown = all_lines(loaded);
    for (const auto& warning : loaded.warnings) shown += warning.to_string();
    for (const auto& found : loaded.config.connections) shown += found.upstream;
    EXPECT_EQ(shown.find(secret), std::string::npos) << shown;
  }
}

TEST(Secrets, of_an_upstream_given_by_flag_or_variable_never_stand_in_a_message) {
  auto sources = sources_of({{"HOLDFAST_UPSTREAM", "postgres://app:hush-hush@db:port"}});
  EXPECT_EQ(all_lines(load(sources)).find("hush"), std::string::npos);
  sources.upstream = "postgres://app:hush-hush@db?sslmode=x";
  const auto loaded = load(sources);
  EXPECT_FALSE(loaded.ok());
  EXPECT_EQ(all_lines(loaded).find("hush"), std::string::npos);
}

TEST(Secrets, are_equal_when_their_values_are) {
  EXPECT_TRUE(Secret("a") == Secret("a"));
  EXPECT_FALSE(Secret("a") == Secret("b"));
  EXPECT_TRUE(Secret().empty());
}

}  // namespace
}  // namespace holdfast::config
