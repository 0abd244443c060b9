// Any bytes: the judges must come to a verdict, and to one that agrees with itself.
#include <cstdint>
#include <cstdlib>

#include "protocol/postgres/session_judge.hpp"
#include "protocol/postgres/statement_judge.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast::postgres;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto judged = judge_text(text);
  for (const char before : {'I', 'T', 'E'}) {
    const auto after = status_after(judged, before).status;
    if (after != 'I' && after != 'T' && after != 'E') std::abort();
    if (!judged.parsed && !may_commit(judged, before)) std::abort();
  }
  if (only_reads(judged) && may_call_procedure(judged)) std::abort();
  SessionJudge session;
  session.add_text(text);
  for (auto names = session.next_names(); !names.empty(); names = session.next_names()) {
    // The text itself as the body of whatever it calls.
    for (const auto& name : names) session.on_function({"public", name, false, "plpgsql", std::string(text)});
  }
  if (!judged.parsed && session.verdict().restorable) std::abort();
  return 0;
}
