// Finds what a replica set can be made of.
#include "workload/mongo_set.hpp"

#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <stdexcept>

namespace holdfast::workload {

MongoSearch mongo_search(std::string model) {
  MongoSearch search;
  if (const char* wish = std::getenv("MONGOD"); wish != nullptr && *wish != '\0') search.mongod = wish;
  if (const char* path = std::getenv("PATH"); path != nullptr) search.path = path;
  search.model = std::move(model);
  return search;
}

std::optional<std::filesystem::path> find_mongod(const MongoSearch& search) {
  const auto runs = [](const std::filesystem::path& program) {
    return std::filesystem::is_regular_file(program) && access(program.c_str(), X_OK) == 0;
  };
  if (search.mongod) {
    if (!runs(*search.mongod)) throw std::runtime_error("MONGOD is " + *search.mongod + ", which is no program");
    return *search.mongod;
  }
  std::istringstream path(search.path);
  for (std::string directory; std::getline(path, directory, ':');) {
    const auto program = std::filesystem::path(directory) / "mongod";
    if (!directory.empty() && runs(program)) return program;
  }
  if (search.model.empty()) {
    throw std::runtime_error("no MongoDB server found: put mongod on PATH or set MONGOD, or give --model PATH, the program of the model "
                             "replica set (tests/support/mongo-model in holdfast's sources)");
  }
  if (!runs(search.model)) throw std::runtime_error("--model is " + search.model + ", which is no program");
  return std::nullopt;
}

std::unique_ptr<MongoSet> make_mongo_set(const MongoSearch& search, const std::filesystem::path& directory) {
  const auto mongod = find_mongod(search);
  return mongod ? mongod_set(*mongod, directory) : model_set(std::filesystem::absolute(search.model).string(), directory);
}

}  // namespace holdfast::workload
