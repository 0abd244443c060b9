// Any bytes: the scan must not touch what is not its own, and must agree with the parser where the parser has an opinion.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/unit/protocol/scan_oracle.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  using namespace holdfast::postgres;
  if (const auto what = test::contradiction(text); !what.empty()) {
    std::fprintf(stderr, "the scan contradicts the parse tree: %s\n", what.c_str());
    std::abort();
  }
  (void)set_target(text);
  (void)prepared_name(text);
  (void)channel_name(text);
  (void)dotted_settings(text);
  return 0;
}
