// A statement of ours: its text, and its parameters in text form.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

struct Inquiry {
  std::string_view text;  // of static storage
  std::vector<std::string> parameters;
};

}  // namespace holdfast::postgres
