// A parse tree of libpg_query, read in the packed form in which the library hands it over: no unpacked copy, no recursion.
// Judges nothing. Of use to the judges only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

/// One message of the tree (a SelectStmt, a FuncCall …): a view into its ParseTree, never a bare Node wrapper.
class TreeNode {
 public:
  TreeNode() = default;
  TreeNode(const void* descriptor, std::string_view bytes);

  /// "SelectStmt", …; empty for no node.
  [[nodiscard]] std::string_view type() const;
  [[nodiscard]] bool is(std::string_view name) const { return type() == name; }
  /// A string field; empty when absent.
  [[nodiscard]] std::string_view text(std::string_view field) const;
  /// A number, enum or bool; 0 when absent.
  [[nodiscard]] std::int64_t number(std::string_view field) const;
  /// The first message of a field; no node when absent.
  [[nodiscard]] TreeNode child(std::string_view field) const;
  [[nodiscard]] std::vector<TreeNode> children(std::string_view field) const;
  /// All messages right below, of whatever field.
  void append_children(std::vector<TreeNode>& out) const;
  /// The strings of a list of String nodes: a dotted name.
  [[nodiscard]] std::vector<std::string> strings(std::string_view field) const;

  explicit operator bool() const { return descriptor_ != nullptr; }

 private:
  const void* descriptor_ = nullptr;
  std::string_view bytes_;
};

class ParseTree {
 public:
  ParseTree(ParseTree&&) noexcept;
  ParseTree(const ParseTree&) = delete;
  ParseTree& operator=(const ParseTree&) = delete;
  ParseTree& operator=(ParseTree&&) = delete;
  ~ParseTree();

  /// None for what is not SQL, not UTF-8, holds a zero byte or is over `size_max` or the depth that half of an 8 MiB
  /// stack carries: the parser itself guards neither.
  static std::optional<ParseTree> parse(std::string_view text, std::size_t size_max);

  /// The statements, without their RawStmt.
  [[nodiscard]] std::vector<TreeNode> statements() const;

 private:
  ParseTree(char* data, std::size_t size) : data_(data), size_(size) {}
  char* data_;
  std::size_t size_;
};

/// Visits `root` and everything below it, in no order that means anything.
template <class Visit>
void each_node(TreeNode root, Visit visit) {
  std::vector<TreeNode> pending{root};
  while (!pending.empty()) {
    const TreeNode node = pending.back();
    pending.pop_back();
    visit(node);
    node.append_children(pending);
  }
}

}  // namespace holdfast::postgres
