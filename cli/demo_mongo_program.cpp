// Finds the program and becomes it.
#include "cli/demo_mongo_program.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace holdfast::cli {

int run_mongo_demo_program(const DemoOptions& options, const std::string& model) {
  std::error_code unread;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", unread);
  const auto program = self.parent_path() / "holdfast-demo-mongodb";
  const auto length = std::to_string(options.duration.count());
  const char* end = options.end == DemoEnd::stay ? "stay" : "finish";
  execl(program.c_str(), program.c_str(), self.c_str(), length.c_str(), end, model.c_str(), static_cast<char*>(nullptr));
  std::fprintf(stderr, "holdfast demo: cannot start %s (%s): the demo of MongoDB is built from the sources and is no part of the packages\n",
               program.c_str(), std::strerror(errno));
  return 1;
}

}  // namespace holdfast::cli
