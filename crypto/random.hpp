// Random bytes for keys and nonces.
#pragma once

#include <span>

namespace holdfast::crypto {

/// Fills `out` from the system's generator; throws std::runtime_error when that fails.
void random_bytes(std::span<char> out);

}  // namespace holdfast::crypto
