// Children: how they are started, what they inherit, and that they do not outlive their parent.
#include "workload/child_process.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>
#include <thread>

#include "workload/scratch.hpp"

namespace holdfast::workload {
namespace {

constexpr milliseconds limit{10'000};

class Children : public testing::Test {
 protected:
  [[nodiscard]] ChildOptions shell(const std::string& script) const {
    return {.arguments = {"/bin/sh", "-c", script},
            .environment = {"PATH=/usr/bin:/bin", "GIVEN=1"},
            .output_file = log()};
  }
  [[nodiscard]] std::string log() const { return scratch_.path() / "child.log"; }

 private:
  ScratchDirectory scratch_{"holdfast-test"};
};

TEST_F(Children, write_to_their_file_and_see_only_the_given_environment) {
  ChildProcess child(shell("echo given $GIVEN home $HOME; echo error >&2"));
  ASSERT_TRUE(child.wait(limit));
  EXPECT_TRUE(child.succeeded());
  EXPECT_EQ(tail_of(log(), 5), "given 1 home\nerror\n");
}

TEST_F(Children, that_fail_have_not_succeeded) {
  ChildProcess child(shell("exit 3"));
  ASSERT_TRUE(child.wait(limit));
  EXPECT_FALSE(child.succeeded());
}

TEST_F(Children, that_cannot_be_started_say_why) {
  auto options = shell("");
  options.arguments.front() = "/absent/program";
  try {
    const ChildProcess child(options);
    FAIL() << "started";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("/absent/program"));
    EXPECT_THAT(error.what(), testing::HasSubstr("No such file"));
  }
}

TEST_F(Children, are_gone_with_their_object) {
  pid_t pid = 0;
  {
    const ChildProcess child(shell("exec sleep 60"));
    pid = child.pid();
    ASSERT_EQ(kill(pid, 0), 0);
  }
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST_F(Children, die_with_the_thread_that_started_them) {
  std::unique_ptr<ChildProcess> child;
  std::thread([&] { child = std::make_unique<ChildProcess>(shell("exec sleep 60")); }).join();
  EXPECT_TRUE(child->wait(limit));
  EXPECT_FALSE(child->succeeded());
}

TEST_F(Children, of_another_user_die_with_the_thread_too_and_are_no_root) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can start a child as another user";
  }
  auto options = shell("id -u; exec sleep 60");
  options.identity = unprivileged_identity();
  ASSERT_TRUE(options.identity);
  std::unique_ptr<ChildProcess> child;
  std::thread([&] {
    child = std::make_unique<ChildProcess>(options);
    ASSERT_TRUE(wait_until(limit, [&] { return !tail_of(log(), 1).empty(); }));
  }).join();
  EXPECT_TRUE(child->wait(limit));
  EXPECT_EQ(tail_of(log(), 1), std::to_string(options.identity->user) + "\n");
}

TEST(Environment, leaves_out_what_begins_with_a_prefix) {
  ASSERT_EQ(setenv("HOLDFAST_TEST_SECRET", "x", 1), 0);
  EXPECT_THAT(environment_without({}), testing::Contains("HOLDFAST_TEST_SECRET=x"));
  EXPECT_THAT(environment_without({"HOLDFAST_"}), testing::Not(testing::Contains(testing::StartsWith("HOLDFAST_"))));
  unsetenv("HOLDFAST_TEST_SECRET");
}

}  // namespace
}  // namespace holdfast::workload
