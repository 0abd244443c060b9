// Reads a test's JSON, in which MongoDB's types are written as "Extended JSON", into BSON.
#pragma once

#include <optional>
#include <string>

namespace holdfast::mongo::test {

/// None, with the reason in `error`, where it is no JSON.
[[nodiscard]] std::optional<std::string> bson_of_json(const std::string& json, std::string& error);

}  // namespace holdfast::mongo::test
