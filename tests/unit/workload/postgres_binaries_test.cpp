// Where the server's programs are looked for, on made directories.
#include "workload/postgres_binaries.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <stdexcept>

#include "workload/scratch.hpp"

namespace holdfast::workload {
namespace {

namespace fs = std::filesystem;

class PostgresBinaries : public testing::Test {
 protected:
  fs::path make_program(const fs::path& path, const std::string& content = "#!/bin/sh\n") const {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << content;
    fs::permissions(path, fs::perms::owner_all);
    return path;
  }
  fs::path make_server(const fs::path& directory) const {
    make_program(directory / "initdb");
    make_program(directory / "postgres");
    return directory;
  }
  [[nodiscard]] PostgresSearch search() const { return {.pg_config = {}, .versions_directory = root() / "lib", .path = {}}; }
  [[nodiscard]] fs::path root() const { return scratch_.path(); }

 private:
  ScratchDirectory scratch_{"holdfast-test"};
};

TEST_F(PostgresBinaries, the_newest_version_wins_by_number_not_by_text) {
  make_server(root() / "lib/9.6/bin");
  make_server(root() / "lib/13/bin");
  const auto newest = make_server(root() / "lib/15/bin");
  EXPECT_EQ(find_postgres(search()), newest);
}

TEST_F(PostgresBinaries, a_version_without_a_server_is_passed_over) {
  const auto whole = make_server(root() / "lib/15/bin");
  make_program(root() / "lib/16/bin/psql");
  EXPECT_EQ(find_postgres(search()), whole);
}

TEST_F(PostgresBinaries, path_is_searched_in_its_order_when_there_is_no_version_directory) {
  auto where = search();
  fs::create_directories(root() / "empty");
  const auto first = make_server(root() / "first");
  make_server(root() / "second");
  where.path = (root() / "empty").string() + "::" + first.string() + ":" + (root() / "second").string();
  EXPECT_EQ(find_postgres(where), first);
}

TEST_F(PostgresBinaries, pg_config_goes_before_everything_else) {
  make_server(root() / "lib/15/bin");
  const auto wished = make_server(root() / "it's here");
  auto where = search();
  where.pg_config = make_program(root() / "it's pg_config", "#!/bin/sh\n[ \"$1\" = --bindir ] && echo \"" + wished.string() + "\"\n");
  EXPECT_EQ(find_postgres(where), wished);
}

TEST_F(PostgresBinaries, a_pg_config_that_leads_nowhere_is_named) {
  make_server(root() / "lib/15/bin");
  auto where = search();
  where.pg_config = (root() / "absent").string();
  try {
    [[maybe_unused]] const auto found = find_postgres(where);
    FAIL() << found;
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr((root() / "absent").string()));
  }
}

TEST_F(PostgresBinaries, without_any_server_the_sentence_says_what_to_install) {
  try {
    [[maybe_unused]] const auto found = find_postgres(search());
    FAIL() << found;
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("install"));
    EXPECT_THAT(error.what(), testing::HasSubstr("PG_CONFIG"));
  }
}

}  // namespace
}  // namespace holdfast::workload
