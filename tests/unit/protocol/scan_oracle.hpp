// Compares what scan_text says with the parse tree of the same text. For the unit tests and the fuzzer.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "protocol/postgres/parse_tree.hpp"
#include "protocol/postgres/text_scan.hpp"

namespace holdfast::postgres::test {

/// A call of a function that a user could have replaced; what the grammar itself makes of its syntax is not.
inline bool is_user_call(const TreeNode& node) {
  if (!node.is("FuncCall")) return false;
  const auto name = node.strings("funcname");
  if (name.size() != 2 || name[0] != "pg_catalog") return true;
  constexpr std::int64_t sql_syntax = 4;  // COERCE_SQL_SYNTAX
  if (node.number("funcformat") == sql_syntax) return false;
  return name[1] != "like_escape" && name[1] != "similar_to_escape";
}

inline std::set<std::string> called_names(const ParseTree& tree) {
  std::set<std::string> out;
  for (const auto& statement : tree.statements()) {
    each_node(statement, [&](const TreeNode& node) {
      if (!is_user_call(node)) return;
      std::string name;
      for (const auto& part : node.strings("funcname")) name += part + '.';
      out.insert(name);
    });
  }
  return out;
}

/// What the scan said of a statement that its tree does not bear out; empty when all is well or the text does not parse.
inline std::string contradiction(std::string_view text) {
  const auto scan = scan_text(text);
  const auto tree = ParseTree::parse(text, 1 << 16);
  if (!tree) return {};
  const auto statements = tree->statements();
  const bool harmless = scan.kind == TextClass::harmless;
  if (scan.single_statement && statements.size() > 1) return "single_statement";
  std::string out;
  const auto claim = [&](bool holds, const char* what) {
    if (!holds && out.empty()) out = what;
  };
  for (const auto& statement : statements) {
    if (statement.is("TransactionStmt")) claim(scan.transaction_word, "no transaction_word");
    if (scan.kind == TextClass::constant_set) {
      const auto kind = statement.number("kind");
      const bool characteristics = kind == 4 && statement.text("name") == "SESSION CHARACTERISTICS";
      claim(statement.is("VariableSetStmt") && (kind == 1 || kind == 2 || characteristics) && statement.number("is_local") == 0,
            "constant_set");
      claim(!characteristics || statement.children("args").size() == 1, "constant_set of several modes");
    }
    if (scan.set_local && statement.is("VariableSetStmt")) {
      claim(statement.number("is_local") != 0 || statement.number("kind") == 4 ||
                statement.text("name").starts_with("transaction_"), "set_local");
    }
    if (harmless) {
      for (const auto* type : {"VariableSetStmt", "PrepareStmt", "ExecuteStmt", "DeallocateStmt", "ListenStmt",
                               "UnlistenStmt", "DiscardStmt", "LoadStmt", "DeclareCursorStmt", "CallStmt", "DoStmt",
                               "CreateStmt", "CreateTableAsStmt", "CreateFunctionStmt"}) {
        claim(!statement.is(type), type);
      }
    }
    each_node(statement, [&](const TreeNode& node) {
      if (node.is("ExecuteStmt") || node.is("DeallocateStmt")) claim(scan.uses_prepared, "no uses_prepared");
      const bool config = node.is("FuncCall") && !node.strings("funcname").empty() &&
                          node.strings("funcname").back() == "set_config";
      if (config) claim(scan.calls_set_config || scan.set_local || scan.kind == TextClass::unknown || scan.may_call ||
                            !harmless, "set_config");
      if (is_user_call(node) && !config) claim(scan.may_call && !harmless, "a call");
      if (harmless && node.is("IntoClause")) claim(false, "INTO");
      if (harmless && node.is("RangeVar")) claim(node.text("relpersistence") != "t", "temporary");
    });
  }
  return out;
}

}  // namespace holdfast::postgres::test
