// Generated SQL: whatever the scan says of it has to agree with its parse tree.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/unit/protocol/scan_oracle.hpp"

namespace holdfast::postgres {
namespace {

/// Strings of tokens that look like SQL: half of them do not parse, the others are odd.
class Generator {
 public:
  explicit Generator(std::uint32_t seed) : random_(seed) {}

  std::string statement() {
    switch (pick(14)) {
      case 0: return "insert into " + name() + maybe(" (a, b)") + " " + choose({"values (" + list() + ")", select()}) +
                     maybe(" on conflict (" + expression(1) + ") do nothing") + maybe(" returning " + list());
      case 1: return "update " + name() + " set a = " + expression(2) + maybe(" where " + expression(1));
      case 2: return "with " + name() + " as " + maybe("materialized ") + "(" + choose({select(), "insert into t (a) values (1)"}) +
                     ") " + choose({select(), "insert into t (a) " + select(), select() + " insert into x"});
      case 3: return choose({"begin", "commit", "end", "rollback to a", "prepare transaction 'x'", "start transaction"});
      case 4: return choose({"set ", "set local ", "set session ", "reset "}) + name() + choose({" = ", " to ", " "}) + constant();
      case 5: return choose({"prepare ", "execute ", "deallocate "}) + name() + maybe("(" + list() + ")") + maybe(" as " + select());
      case 6: return "explain " + maybe("analyze ") + maybe("(buffers) ") + statement();
      case 7: return "create " + maybe("temp ") + "table " + name() + " as " + select();
      case 8: return statement() + choose({"; ", ";"}) + statement();
      case 9: return "declare c cursor for " + select();
      case 10: return "copy " + choose({name() + maybe("(a)"), "(" + select() + ")"}) + " to stdout";
      default: return select();
    }
  }

 private:
  std::uint32_t pick(std::uint32_t n) { return std::uniform_int_distribution<std::uint32_t>(0, n - 1)(random_); }
  std::string choose(std::initializer_list<std::string> from) { return *(from.begin() + pick(static_cast<std::uint32_t>(from.size()))); }
  std::string maybe(const std::string& text) { return pick(3) == 0 ? text : ""; }

  std::string name() {
    static constexpr const char* names[] = {
        "t", "f", "\"q\"", "s.t", "insert", "conflict", "by", "set", "over", "temp", "left", "like", "join", "materialized",
        "set_config", "pg_catalog.set_config", "s.in", "s.select", "values", "varying", "explain", "copy", "execute",
        "time", "names", "session", "e", "u", "begin", "declare", "a.\"b\"", "first", "filter", "numeric", "substring"};
    return names[pick(std::size(names))];
  }
  std::string constant() {
    static constexpr const char* constants[] = {"1", "1.5", "'x'", "E'a\\'b'", "$1", "$$f(1)$$", "'f('", "true", "null", "1e3",
                                                "U&'x'", "-1", ".5", "'a\\b'", "1.", "$a$'$a$"};
    return constants[pick(std::size(constants))];
  }
  std::string list() {
    std::string out = expression(2);
    while (pick(3) == 0) out += choose({", ", ",", "/* , */, "}) + expression(1);
    return out;
  }
  std::string expression(int depth) {
    if (depth == 0) return choose({constant(), name()});
    switch (pick(12)) {
      case 0: return name() + choose({"(", " (", "/**/("}) + choose({"", list()}) + ")";
      case 1: return expression(depth - 1) + choose({" + ", " and ", "-", " like ", " || ", " is distinct from "}) + expression(depth - 1);
      case 2: return expression(depth - 1) + "::" + choose({"int", "numeric(10,2)", "s.t(3)", "text[]"});
      case 3: return "cast(" + expression(depth - 1) + " as varchar(3))";
      case 4: return expression(depth - 1) + " in (" + choose({list(), select()}) + ")";
      case 5: return "(" + choose({list(), select()}) + ")";
      case 6: return "case when " + expression(depth - 1) + " then " + expression(depth - 1) + " end";
      case 7: return choose({"coalesce", "extract", "position", "trim", "exists", "row", "array", "any"}) + "(" + list() + ")";
      case 8: return "set_config('a.b', " + expression(0) + ", " + choose({"true", "false", "$1"}) + ")";
      default: return choose({constant(), name()});
    }
  }
  std::string select() {
    if (--budget_ <= 0) return "select 1";
    return "select " + list() + maybe(" " + name()) + maybe(choose({" into ", " insert into "}) + maybe("temp ") + name()) +
           maybe(" from " + name() + maybe(" join " + choose({name(), "(" + select() + ") x"}) + " on " + expression(1))) +
           maybe(" where " + expression(2)) + maybe(" group by (" + expression(1) + ")") + maybe(" union " + select());
  }

  std::mt19937 random_;
  int budget_ = 6;
};

TEST(TextScan, agrees_with_the_parse_tree_of_generated_statements) {
  std::map<std::uint64_t, std::set<std::string>> names_of_shape;
  std::size_t parsed = 0, harmless = 0;
  for (std::uint32_t seed = 0; seed < 20'000; ++seed) {
    const auto text = Generator(seed).statement();
    EXPECT_EQ(test::contradiction(text), "") << "seed " << seed << ": " << text;
    const auto tree = ParseTree::parse(text, 1 << 16);
    if (!tree) continue;
    ++parsed;
    const auto scan = scan_text(text);
    if (scan.kind == TextClass::harmless) ++harmless;
    const auto names = test::called_names(*tree);
    const auto [at, fresh] = names_of_shape.emplace(scan.shape, names);
    EXPECT_EQ(at->second, names) << "another text has the shape of: " << text;
    if (HasFailure()) break;
  }
  EXPECT_GT(parsed, 3'000U);  // or the generator proves nothing
  EXPECT_GT(harmless, 600U);
}

}  // namespace
}  // namespace holdfast::postgres
