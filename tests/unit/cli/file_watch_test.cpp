// Files that are written, replaced, swapped by a link, and gone for a moment.
#include "cli/file_watch.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;
using Paths = std::vector<std::string>;
const Paths none;

class FileWatchTest : public testing::Test {
 protected:
  FileWatchTest() {
    std::string name = (fs::temp_directory_path() / "holdfast-watch-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~FileWatchTest() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) const {
    const auto path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path.string();
  }
  fs::path folder_;
  FileWatch watch_;
};

TEST_F(FileWatchTest, tells_a_change_once_and_only_when_it_has_settled) {
  const auto path = write("a", "one");
  watch_.follow({path});
  EXPECT_EQ(watch_.look(), none);
  write("a", "two, longer");
  EXPECT_EQ(watch_.look(), none) << "it may still be written";
  write("a", "two, longer still");
  EXPECT_EQ(watch_.look(), none) << "and it is";
  EXPECT_EQ(watch_.look(), Paths{path});
  EXPECT_EQ(watch_.look(), none);
}

TEST_F(FileWatchTest, waits_until_every_file_has_settled) {
  const auto first = write("a", "one"), second = write("b", "one");
  watch_.follow({first, second});
  write("a", "changed");
  EXPECT_EQ(watch_.look(), none);
  write("b", "changed too");
  EXPECT_EQ(watch_.look(), none);
  EXPECT_EQ(watch_.look(), (Paths{first, second}));
  EXPECT_EQ(watch_.look(), none) << "both were told as one";
}

TEST_F(FileWatchTest, sees_a_folder_swapped_behind_a_link_as_kubernetes_does) {
  write("..one/holdfast.yaml", "same text");
  write("..two/holdfast.yaml", "same text");
  fs::create_symlink("..one", folder_ / "..data");
  fs::create_symlink("..data/holdfast.yaml", folder_ / "holdfast.yaml");
  const auto path = (folder_ / "holdfast.yaml").string();
  watch_.follow({path});
  fs::create_symlink("..two", folder_ / "..data_tmp");
  fs::rename(folder_ / "..data_tmp", folder_ / "..data");
  fs::remove_all(folder_ / "..one");
  EXPECT_EQ(watch_.look(), none);
  EXPECT_EQ(watch_.look(), Paths{path});
}

TEST_F(FileWatchTest, does_not_take_a_file_that_is_gone_for_a_change) {
  const auto path = write("a", "one");
  watch_.follow({path, (folder_ / "never").string()});
  fs::remove(path);
  EXPECT_EQ(watch_.look(), none);
  EXPECT_EQ(watch_.look(), none);
  write("a", "here again");
  EXPECT_EQ(watch_.look(), none);
  EXPECT_EQ(watch_.look(), Paths{path});
}

TEST_F(FileWatchTest, forgets_what_was_marked_and_who_is_not_followed_any_more) {
  const auto first = write("a", "one"), second = write("b", "one");
  watch_.follow({first, second});
  write("a", "known by hand");
  watch_.mark();
  EXPECT_EQ(watch_.look(), none);
  EXPECT_EQ(watch_.look(), none);
  write("a", "other");
  write("b", "other");
  watch_.follow({second});
  EXPECT_EQ(watch_.look(), none);
  EXPECT_EQ(watch_.look(), Paths{second});
}

}  // namespace
}  // namespace holdfast::cli
