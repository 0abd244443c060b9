// Directories, ports, passwords and files of throw-away servers.
#include "workload/scratch.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

namespace holdfast::workload {
namespace {

namespace fs = std::filesystem;

TEST(Scratch, the_directory_goes_with_all_it_holds) {
  fs::path path;
  {
    ScratchDirectory scratch("holdfast-test");
    path = scratch.path();
    fs::create_directories(path / "a/b");
    write_private_file(path / "a/b/file", "content");
    write_private_file(path / "server.log", "line\n");
    ASSERT_TRUE(fs::exists(path / "a/b/file"));
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(Scratch, the_logs_stay_when_asked_to_and_nothing_else) {
  fs::path path;
  {
    ScratchDirectory scratch("holdfast-test");
    path = scratch.path();
    scratch.leave(Leftovers::logs);
    write_private_file(path / "password", "secret");
    write_private_file(path / "server.log", "line\n");
  }
  EXPECT_FALSE(fs::exists(path / "password"));
  EXPECT_TRUE(fs::exists(path / "server.log"));
  fs::remove_all(path);
}

TEST(Scratch, a_private_file_is_for_its_owner_only) {
  const ScratchDirectory scratch("holdfast-test");
  write_private_file(scratch.path() / "password", "secret");
  struct stat status {};
  ASSERT_EQ(stat((scratch.path() / "password").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST(Scratch, a_free_port_is_none_that_the_kernel_gives_to_outgoing_connections) {
  int lowest = 0;
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> lowest;
  if (lowest <= 12'000) {
    GTEST_SKIP() << "this machine gives out nearly all ports";
  }
  for (int draw = 0; draw < 20; ++draw) {
    EXPECT_LT(free_port(), lowest);
  }
}

TEST(Scratch, passwords_differ_and_are_of_128_bits) {
  const auto password = random_password();
  EXPECT_EQ(password.size(), 32U);
  EXPECT_NE(password, random_password());
}

TEST(Scratch, the_tail_of_a_file_is_its_last_lines) {
  const ScratchDirectory scratch("holdfast-test");
  write_private_file(scratch.path() / "log", "one\ntwo\nthree\n");
  EXPECT_EQ(tail_of(scratch.path() / "log", 2), "two\nthree\n");
  EXPECT_EQ(tail_of(scratch.path() / "log", 5), "one\ntwo\nthree\n");
  EXPECT_EQ(tail_of(scratch.path() / "absent", 5), "");
}

}  // namespace
}  // namespace holdfast::workload
