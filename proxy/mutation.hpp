// Safety rules that tests can switch off, one at a time, to see that the simulation notices. In the program every rule
// holds: `broken` is false at compile time there. Built with HOLDFAST_MUTATIONS it asks the variable HOLDFAST_MUTATION.
#pragma once

#include <cstdlib>
#include <string_view>

namespace holdfast::proxy {

#ifdef HOLDFAST_MUTATIONS
inline bool broken(std::string_view rule) {
  static const char* const chosen = std::getenv("HOLDFAST_MUTATION");
  return chosen != nullptr && rule == chosen;
}
#else
constexpr bool broken(std::string_view) { return false; }
#endif

}  // namespace holdfast::proxy
