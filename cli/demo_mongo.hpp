// The demo of MongoDB: a replica set whose primary is killed or steps down. Linked into the program of its own only, because of
// libmongoc.
#pragma once

#include <memory>
#include <string>

#include "cli/demo_subject.hpp"

namespace holdfast::cli {

/// `model`: the program of the model replica set, for where there is no mongod; may be empty. Throws std::runtime_error where there
/// is neither.
[[nodiscard]] std::unique_ptr<DemoSubject> mongo_demo(const std::string& model);

}  // namespace holdfast::cli
