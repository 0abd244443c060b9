// The demo of PostgreSQL: one server, killed as a whole or one backend of it.
#pragma once

#include <memory>

#include "cli/demo_subject.hpp"

namespace holdfast::cli {

[[nodiscard]] std::unique_ptr<DemoSubject> postgres_demo();

}  // namespace holdfast::cli
