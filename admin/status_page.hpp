// The page at `/`: the connections as text, without any script.
#pragma once

#include <string>
#include <vector>

#include "admin/source.hpp"

namespace holdfast::admin {

[[nodiscard]] std::string status_page(const std::vector<ConnectionView>& views);

}  // namespace holdfast::admin
