// Where the MongoDB demo looks for a server, and what it says where there is none.
#include "workload/mongo_set.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "workload/scratch.hpp"

namespace holdfast::workload {
namespace {

class MongodSearch : public testing::Test {
 protected:
  std::string program(const std::string& name) {
    const auto path = scratch_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << "#!/bin/sh\n";
    chmod(path.c_str(), 0700);
    return path.string();
  }
  ScratchDirectory scratch_{"holdfast-mongo-search"};
};

TEST_F(MongodSearch, takes_the_users_wish_first_then_the_path_then_the_model) {
  MongoSearch search;
  search.model = program("model");
  EXPECT_EQ(find_mongod(search), std::nullopt);
  const auto found = program("bin/mongod");
  search.path = "/nowhere:" + (scratch_.path() / "bin").string();
  EXPECT_EQ(find_mongod(search), std::filesystem::path(found));
  search.mongod = program("wish");
  EXPECT_EQ(find_mongod(search), std::filesystem::path(*search.mongod));
}

std::string complaint(const MongoSearch& search) {
  try {
    static_cast<void>(find_mongod(search));
    return {};
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

TEST_F(MongodSearch, says_what_is_needed_where_there_is_nothing) {
  MongoSearch search;
  search.path = scratch_.path().string();
  EXPECT_THAT(complaint(search), testing::HasSubstr("set MONGOD, or give --model PATH"));
  search.model = "/nowhere/model";
  EXPECT_EQ(complaint(search), "--model is /nowhere/model, which is no program");
  search.mongod = "/nowhere/mongod";
  EXPECT_EQ(complaint(search), "MONGOD is /nowhere/mongod, which is no program");
}

}  // namespace
}  // namespace holdfast::workload
