// libbson does it.
#include "tests/unit/protocol/mongo_json.hpp"

#include <bson/bson.h>

namespace holdfast::mongo::test {

std::optional<std::string> bson_of_json(const std::string& json, std::string& error) {
  bson_error_t problem;
  bson_t* read = bson_new_from_json(reinterpret_cast<const std::uint8_t*>(json.data()), -1, &problem);
  if (read == nullptr) {
    error = problem.message;
    return std::nullopt;
  }
  std::string document(reinterpret_cast<const char*>(bson_get_data(read)), read->len);
  bson_destroy(read);
  return document;
}

}  // namespace holdfast::mongo::test
