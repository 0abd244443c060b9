// Which line of a password file counts, with libpq itself as the judge.
#include "config/passfile.hpp"

#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <memory>
#include <string>

#include "loading.hpp"

namespace holdfast::config {
namespace {

struct Wanted {
  std::string host = "db.example";
  std::uint16_t port = 6;
  std::string database = "orders", user = "app";
};

std::string found_by_us(const std::string& file, const Wanted& wanted) {
  PostgresUri uri;
  uri.hosts = {{wanted.host, wanted.port}};
  uri.user = wanted.user;
  uri.database = wanted.database;
  return look_up_passfile(reader_of({{"PGPASSFILE", file}}), uri).password.reveal();
}

/// libpq looks the file up before it connects; the port is one that nobody listens on.
std::string found_by_libpq(const std::string& file, const Wanted& wanted) {
  const bool socket = wanted.host.starts_with('/');
  const auto port = std::to_string(wanted.port);
  const char* const names[] = {"host", "port", "dbname", "user", "passfile", socket ? nullptr : "hostaddr", nullptr};
  const char* const values[] = {wanted.host.c_str(), port.c_str(), wanted.database.c_str(), wanted.user.c_str(), file.c_str(), "127.0.0.1", nullptr};
  const std::unique_ptr<PGconn, void (*)(PGconn*)> connection(PQconnectStartParams(names, values, 0), PQfinish);
  const char* password = PQpass(connection.get());
  return password == nullptr ? "" : password;
}

void expect_same(const std::string& content, const Wanted& wanted = {}) {
  const Folder folder;
  const auto file = folder.write("pgpass", content);
  EXPECT_EQ(found_by_us(file, wanted), found_by_libpq(file, wanted)) << content;
}

TEST(Passfile, gives_the_password_of_the_first_line_that_fits) {
  const Folder folder;
  EXPECT_EQ(found_by_us(folder.write("pgpass", "other:6:orders:app:a\ndb.example:6:orders:app:b\n*:*:*:*:c\n"), {}), "b");
}

TEST(Passfile, is_read_line_by_line_as_libpq_reads_it) {
  for (const char* content :
       {"", "\n\n", "db.example:6:orders:app:pw\n", "db.example:6:orders:app:pw", "*:*:*:*:pw\n", "*:6:*:app:pw\n", "other:6:orders:app:no\n",
        "db.example:7:orders:app:no\n", "db.example:6:other:app:no\n", "db.example:6:orders:other:no\n", "#db.example:6:orders:app:no\n*:*:*:*:pw\n",
        " db.example:6:orders:app:no\n", "db.example:6:orders:app\n*:*:*:*:pw\n", "db.example:6:orders\n", "::::pw\n", "*:*:*:*:\n", "*:*:*:*:p\\:w\n",
        "*:*:*:*:p\\\\w\n", "*:*:*:*:p:w\n", "*:*:*:*:pw\\\n", "*:*:*:*:pw \n", "*:*:*:*:pw\r\n", "\\*:*:*:*:no\n", "db.example*:*:*:*:no\n", "**:*:*:*:no\n",
        "db\\.example:6:orders:app:pw\n", "db.example\\:6:orders:app:no\n", "DB.example:6:orders:app:no\n", "db.exampl:6:orders:app:no\n",
        "db.examplee:6:orders:app:no\n", "\\", "db.example:6:orders:app:one\ndb.example:6:orders:app:two\n", "nonsense\n*:*:*:*:pw\n"}) {
    expect_same(content);
  }
}

TEST(Passfile, finds_names_with_colons_and_backslashes_that_are_escaped) {
  expect_same("*:*:or\\:ders:a\\\\pp:pw\n", {.database = "or:ders", .user = "a\\pp"});
  expect_same("*:*:or:ders:app:pw\n", {.database = "or:ders"});
  expect_same("*:*:\\*:*:pw\n", {.database = "*"});
  expect_same("*:*:*:*:pw\n", {.database = "*", .user = "*"});
}

TEST(Passfile, takes_localhost_for_the_default_socket_folder_and_for_no_other) {
  const Wanted other{.host = "/no/such/folder"};
  expect_same("localhost:6:orders:app:no\n", other);
  expect_same("/no/such/folder:6:orders:app:pw\n", other);
  expect_same("localhost:6:orders:app:pw\n", {.host = "/var/run/postgresql"});
}

TEST(Passfile, carries_a_long_password_and_long_lines_before_it) {
  expect_same("*:*:*:*:" + std::string(2'000, 'x') + "\n");
  expect_same(std::string(5'000, 'y') + "\n*:*:*:*:pw\n");
}

TEST(Passfile, is_left_alone_when_others_have_access_to_it_and_says_so) {
  PostgresUri uri;
  uri.hosts = {{"db", 6}};
  for (const mode_t mode : {0640U, 0604U, 0644U, 0610U, 0601U, 0666U}) {
    const Folder folder;
    const auto file = folder.write("pgpass", "*:*:*:*:pw\n", mode);
    const auto found = look_up_passfile(reader_of({{"PGPASSFILE", file}}), uri);
    EXPECT_TRUE(found.password.empty() && found_by_libpq(file, {}).empty()) << mode;
    EXPECT_FALSE(found.warning.empty()) << mode;
    EXPECT_EQ(found.file, file);
  }
  for (const mode_t mode : {0600U, 0400U, 0700U}) {
    const Folder folder;
    const auto found = look_up_passfile(reader_of({{"PGPASSFILE", folder.write("pgpass", "*:*:*:*:pw\n", mode)}}), uri);
    EXPECT_EQ(found.password.reveal(), "pw") << mode;
    EXPECT_TRUE(found.warning.empty());
  }
}

TEST(Passfile, is_the_one_in_the_home_folder_unless_the_variable_names_another) {
  PostgresUri uri;
  uri.hosts = {{"db", 6}};
  const Folder folder;
  folder.write(".pgpass", "*:*:*:*:of-home\n");
  const auto home = folder.at("").substr(0, folder.at("").size() - 1);
  EXPECT_EQ(look_up_passfile(reader_of({{"HOME", home}}), uri).password.reveal(), "of-home");
  EXPECT_EQ(look_up_passfile(reader_of({{"HOME", home}, {"PGPASSFILE", ""}}), uri).password.reveal(), "of-home");
  EXPECT_TRUE(look_up_passfile(reader_of({{"HOME", home}, {"PGPASSFILE", folder.at("none")}}), uri).password.empty());
  EXPECT_TRUE(look_up_passfile(reader_of({}), uri).password.empty());
  EXPECT_TRUE(look_up_passfile({}, uri).password.empty());
}

TEST(Passfile, that_is_no_plain_file_is_left_alone) {
  PostgresUri uri;
  uri.hosts = {{"db", 6}};
  const Folder folder;
  EXPECT_TRUE(look_up_passfile(reader_of({{"PGPASSFILE", folder.at("")}}), uri).password.empty());
  EXPECT_TRUE(look_up_passfile(reader_of({{"PGPASSFILE", "/dev/null"}}), uri).password.empty());
}

}  // namespace
}  // namespace holdfast::config
