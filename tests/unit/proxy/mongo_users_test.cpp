// What is known of users: by the configuration, by the server for a while, and what the unknown ones look like.
#include <gtest/gtest.h>

#include "crypto/base64.hpp"
#include "protocol/mongo/document.hpp"
#include "protocol/mongo/reply.hpp"
#include "proxy/mongo/users.hpp"

namespace holdfast::proxy::mongo {
namespace {

namespace wire = holdfast::mongo;
using crypto::HashKind;
using Time = Users::Time;

config::Connection config_with(std::string password) {
  config::Connection config;
  config.mongo.user = "root";
  config.mongo.password = config::Secret("rootpw");
  config.mongo.auth_database = "admin";
  config::User user;
  user.name = "app";
  user.password = config::Secret(std::move(password));
  config.users.push_back(user);
  return config;
}

TEST(MongoUsers, a_password_makes_a_verifier_for_each_mechanism_and_the_uris_login_is_a_user_too) {
  const Users users(config_with("pencil"), "secret");
  const auto* app = users.configured("admin", "app");
  ASSERT_TRUE(app != nullptr && app->sha256 && app->sha1);
  const auto again = crypto::make_verifier(crypto::md5_hex("app:mongo:pencil"), app->sha1->salt, app->sha1->iterations, HashKind::sha1);
  EXPECT_EQ(again.stored_key, app->sha1->stored_key);
  EXPECT_NE(users.configured("admin", "root"), nullptr);
  EXPECT_EQ(users.configured("shop", "app"), nullptr) << "a user is its database's";
  EXPECT_EQ(users.configured("admin", "nobody"), nullptr);
}

TEST(MongoUsers, one_that_does_not_exist_looks_like_one_that_does) {
  const Users users(config_with("pencil"), "secret");
  for (const auto hash : scram_hashes) {
    const auto known = (*users.configured("admin", "app"))[hash];
    const auto unknown = users.mock("admin", "nobody", hash), again = users.mock("admin", "nobody", hash);
    EXPECT_EQ(unknown.iterations, known->iterations);
    EXPECT_EQ(unknown.salt.size(), known->salt.size());
    EXPECT_EQ(unknown.salt, again.salt) << "a driver keeps what it derived for a salt";
    EXPECT_NE(unknown.stored_key, again.stored_key) << "nothing fits it";
  }
}

TEST(MongoUsers, the_sessions_of_a_user_share_one_login_that_forgets_a_password_that_was_changed) {
  Users users(config_with("pencil"), "secret");
  const auto login = users.login_of("admin", "app", Time{});
  EXPECT_EQ(login->password.reveal(), "pencil");
  EXPECT_EQ(users.login_of("admin", "app", Time{}), login);
  EXPECT_NE(users.login_of("shop", "app", Time{}), login);
  login->keys.sha256 = crypto::ScramKeys{};
  users.update(config_with("pen"));
  EXPECT_EQ(users.login_of("admin", "app", Time{})->password.reveal(), "pen");
  EXPECT_FALSE(login->keys.any());
}

TEST(MongoUsers, the_password_of_a_user_that_the_configuration_names_no_more_is_forgotten_and_keys_without_one_are_kept) {
  Users users(config_with("pencil"), "secret");
  const auto login = users.login_of("admin", "app", Time{});
  login->keys.sha256 = crypto::ScramKeys{};
  auto without = config_with("pencil");
  without.users.clear();
  users.update(without);
  EXPECT_EQ(users.login_of("admin", "app", Time{}), login);
  EXPECT_TRUE(login->password.empty());
  EXPECT_FALSE(login->can_log_in()) << "nor is it what came of that password";
  login->keys.sha256 = crypto::ScramKeys{};
  EXPECT_TRUE(users.login_of("admin", "app", Time{})->keys.sha256) << "of its own proof";
  users.update(config_with("pen"));
  EXPECT_EQ(users.login_of("admin", "app", Time{})->password.reveal(), "pen");
  EXPECT_FALSE(login->keys.any());
}

TEST(MongoUsers, a_login_takes_no_other_users_password) {
  Login login;
  login.user = "rota";
  login.database = "admin";
  login.password = config::Secret("pwa");
  login.take_password("admin", "rotb", config::Secret("pwb"));
  login.take_password("shop", "rota", config::Secret("pwb"));
  EXPECT_EQ(login.password.reveal(), "pwa");
  login.take_password("admin", "rota", config::Secret("pwc"));
  EXPECT_EQ(login.password.reveal(), "pwc");
}

TEST(MongoUsers, what_a_server_said_is_believed_for_a_few_seconds_however_often_it_is_asked_for) {
  Users users(config_with("pencil"), "secret");
  users.learn("admin", "batch", Verifiers{}, Time{});
  for (int second = 0; second < 10; ++second) EXPECT_NE(users.learnt("admin", "batch", Time{} + std::chrono::seconds(second)), nullptr);
  EXPECT_EQ(users.learnt("admin", "batch", Time{} + std::chrono::seconds(10)), nullptr);
  users.learn("admin", "batch", Verifiers{}, Time{});
  users.forget("admin", "batch");
  EXPECT_EQ(users.learnt("admin", "batch", Time{}), nullptr);
}

TEST(MongoUsers, verifiers_are_read_from_usersinfo_and_a_broken_one_is_none) {
  const auto stored = crypto::make_verifier("pencil", "salt", 15'000);
  const auto info = [&](const std::string& key, std::int32_t count) {
    wire::Writer one, credentials, user, users, body;
    one.int32("iterationCount", count).text("salt", crypto::base64_encode("salt")).text("storedKey", key);
    one.text("serverKey", crypto::base64_encode(crypto::view(stored.server_key)));
    credentials.document("SCRAM-SHA-256", one.finish());
    user.document("credentials", credentials.finish());
    users.document("0", user.finish());
    return body.array("users", users.finish()).real("ok", 1).finish();
  };
  const auto key = crypto::base64_encode(crypto::view(stored.stored_key));
  const auto read = read_users_info(info(key, 15'000));
  ASSERT_TRUE(read && read->sha256 && !read->sha1);
  EXPECT_EQ(read->sha256->stored_key, stored.stored_key);
  EXPECT_FALSE(read_users_info(info("AAAA", 15'000)));
  EXPECT_FALSE(read_users_info(info(key, 0)));
  EXPECT_FALSE(read_users_info(info(key, -1)));
  EXPECT_FALSE(read_users_info(wire::empty_document));
}

TEST(MongoUsers, a_connection_is_a_users_where_its_server_names_that_one_and_nobody_else) {
  const auto status = [](std::initializer_list<std::pair<const char*, const char*>> named) {
    wire::Writer users, info, body;
    int number = 0;
    for (const auto& [database, user] : named) {
      wire::Writer one;
      users.document(std::to_string(number++), one.text("user", user).text("db", database).finish());
    }
    return body.document("authInfo", info.array("authenticatedUsers", users.finish()).finish()).real("ok", 1).finish();
  };
  EXPECT_TRUE(is_logged_in_as(status({{"admin", "app"}}), "admin", "app"));
  EXPECT_FALSE(is_logged_in_as(status({{"admin", "root"}}), "admin", "app"));
  EXPECT_FALSE(is_logged_in_as(status({{"shop", "app"}}), "admin", "app"));
  EXPECT_FALSE(is_logged_in_as(status({}), "admin", "app"));
  EXPECT_FALSE(is_logged_in_as(status({{"admin", "app"}, {"admin", "root"}}), "admin", "app"));
  EXPECT_FALSE(is_logged_in_as(status({{"admin", "root"}, {"admin", "app"}}), "admin", "app"));
  const auto whole = status({{"admin", "app"}});
  for (std::size_t i = 0; i < whole.size() - 20; ++i) EXPECT_FALSE(is_logged_in_as(whole.substr(0, i), "admin", "app")) << i;
  EXPECT_FALSE(is_logged_in_as(wire::error_body({59, "no such command: 'connectionStatus'"}), "admin", "app"));
}

}  // namespace
}  // namespace holdfast::proxy::mongo
