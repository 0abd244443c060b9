// Reads the protobuf encoding ("Encoding", protobuf.dev) with the descriptors that libpg_query carries along.
#include "protocol/postgres/parse_tree.hpp"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "protocol/postgres/text_lexer.hpp"

namespace holdfast::postgres {
namespace {

/// Tokens that can stand on one path from the root to a leaf. 4096 of them cost at most about 3 MiB of stack (measured).
constexpr std::size_t depth_max = 4096;

using Descriptor = ProtobufCMessageDescriptor;

const Descriptor* as_descriptor(const void* descriptor) { return static_cast<const Descriptor*>(descriptor); }

struct WireField {
  std::uint32_t number = 0;
  std::uint64_t value = 0;  // of a varint
  std::string_view bytes;   // of a string or message
};

bool read_varint(std::string_view& in, std::uint64_t& out) {
  out = 0;
  for (unsigned shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = static_cast<std::uint8_t>(in.front());
    in.remove_prefix(1);
    out |= std::uint64_t{byte & 0x7fU} << shift;
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

bool read_field(std::string_view& in, WireField& out) {
  std::uint64_t tag = 0;
  if (in.empty() || !read_varint(in, tag)) return false;
  out = {};
  out.number = static_cast<std::uint32_t>(tag >> 3);
  switch (tag & 7) {
    case 0: return read_varint(in, out.value);
    case 2: {
      std::uint64_t size = 0;
      if (!read_varint(in, size) || size > in.size()) return false;
      out.bytes = in.substr(0, size);
      in.remove_prefix(size);
      return true;
    }
    case 1: case 5: {
      const std::size_t size = (tag & 7) == 1 ? 8 : 4;
      if (size > in.size()) return false;
      in.remove_prefix(size);
      return true;
    }
    default: return false;
  }
}

const ProtobufCFieldDescriptor* field_named(const Descriptor* descriptor, std::string_view name) {
  for (unsigned i = 0; i < descriptor->n_fields; ++i) {
    if (name == descriptor->fields[i].name) return &descriptor->fields[i];
  }
  return nullptr;
}

const ProtobufCFieldDescriptor* field_numbered(const Descriptor* descriptor, std::uint32_t number) {
  for (unsigned i = 0; i < descriptor->n_fields; ++i) {
    if (descriptor->fields[i].id == number) return &descriptor->fields[i];
  }
  return nullptr;
}

bool valid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<std::uint8_t>(text[i++]);
    if (lead < 0x80) continue;
    const std::size_t more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || text.size() - i < more) return false;
    for (std::size_t k = 0; k < more; ++k) {
      if ((static_cast<std::uint8_t>(text[i++]) & 0xc0) != 0x80) return false;
    }
  }
  return true;
}

/// A bound of the depth of the tree from above: elements of a list stand side by side, all else may nest.
bool too_deep(std::string_view text) {
  TextLexer lexer(text);
  std::vector<std::size_t> levels{0};  // tokens since the last comma, for each open parenthesis
  std::size_t open = 0;                // their sum
  std::size_t chain = 0;               // set operations and joins nest across commas
  for (Token token = lexer.next(); token.kind != Token::Kind::end; token = lexer.next()) {
    switch (token.kind) {
      case Token::Kind::open: levels.push_back(0); break;
      case Token::Kind::close:
        if (levels.size() > 1) {
          open -= levels.back();
          levels.pop_back();
        }
        break;
      case Token::Kind::comma: case Token::Kind::semicolon:
        open -= std::exchange(levels.back(), 0);
        break;
      default: break;
    }
    if (token.kind == Token::Kind::semicolon && levels.size() == 1) chain = 0;
    constexpr auto union_word = word_key("union"), except_word = word_key("except"), intersect_word = word_key("intersect");
    if (token.word == Word::join_ || token.key == union_word || token.key == except_word || token.key == intersect_word) {
      chain += 2;
    }
    ++levels.back();
    ++open;
    if (open + levels.size() + chain > depth_max) return true;
  }
  return false;
}

}  // namespace

TreeNode::TreeNode(const void* descriptor, std::string_view bytes) : descriptor_(descriptor), bytes_(bytes) {
  if (descriptor_ != &pg_query__node__descriptor) return;
  WireField field;
  std::string_view in = bytes_;
  const auto* found = read_field(in, field) ? field_numbered(as_descriptor(descriptor_), field.number) : nullptr;
  descriptor_ = found != nullptr && found->type == PROTOBUF_C_TYPE_MESSAGE ? found->descriptor : nullptr;
  bytes_ = field.bytes;
}

std::string_view TreeNode::type() const {
  // The short name is spelt as in C ("AExpr"); the full one is that of the .proto file, after its package.
  return descriptor_ == nullptr ? std::string_view{} : std::string_view(as_descriptor(descriptor_)->name).substr(9);
}

std::string_view TreeNode::text(std::string_view name) const {
  const auto* wanted = descriptor_ == nullptr ? nullptr : field_named(as_descriptor(descriptor_), name);
  WireField field;
  for (std::string_view in = bytes_; wanted != nullptr && read_field(in, field);) {
    if (field.number == wanted->id) return field.bytes;
  }
  return {};
}

std::int64_t TreeNode::number(std::string_view name) const {
  const auto* wanted = descriptor_ == nullptr ? nullptr : field_named(as_descriptor(descriptor_), name);
  WireField field;
  for (std::string_view in = bytes_; wanted != nullptr && read_field(in, field);) {
    if (field.number == wanted->id) return static_cast<std::int64_t>(field.value);
  }
  return 0;
}

std::vector<TreeNode> TreeNode::children(std::string_view name) const {
  std::vector<TreeNode> out;
  const auto* wanted = descriptor_ == nullptr ? nullptr : field_named(as_descriptor(descriptor_), name);
  WireField field;
  for (std::string_view in = bytes_; wanted != nullptr && read_field(in, field);) {
    if (field.number == wanted->id && wanted->type == PROTOBUF_C_TYPE_MESSAGE) out.emplace_back(wanted->descriptor, field.bytes);
  }
  return out;
}

TreeNode TreeNode::child(std::string_view name) const {
  const auto all = children(name);
  return all.empty() ? TreeNode{} : all.front();
}

void TreeNode::append_children(std::vector<TreeNode>& out) const {
  WireField field;
  for (std::string_view in = bytes_; descriptor_ != nullptr && read_field(in, field);) {
    const auto* found = field_numbered(as_descriptor(descriptor_), field.number);
    if (found == nullptr || found->type != PROTOBUF_C_TYPE_MESSAGE) continue;
    const TreeNode node(found->descriptor, field.bytes);
    if (node) out.push_back(node);
  }
}

std::vector<std::string> TreeNode::strings(std::string_view name) const {
  std::vector<std::string> out;
  const auto* field = descriptor_ == nullptr ? nullptr : field_named(as_descriptor(descriptor_), name);
  if (field == nullptr) return out;
  for (const auto& node : children(name)) {
    if (node.is("String")) out.emplace_back(node.text("sval"));
  }
  return out;
}

ParseTree::ParseTree(ParseTree&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

ParseTree::~ParseTree() { std::free(data_); }

std::optional<ParseTree> ParseTree::parse(std::string_view text, std::size_t size_max) {
  if (text.size() > size_max || text.find('\0') != std::string_view::npos || !valid_utf8(text) || too_deep(text)) {
    return std::nullopt;
  }
  auto result = pg_query_parse_protobuf(std::string(text).c_str());
  if (result.error != nullptr) {
    pg_query_free_protobuf_parse_result(result);
    return std::nullopt;
  }
  ParseTree tree(std::exchange(result.parse_tree.data, nullptr), result.parse_tree.len);
  pg_query_free_protobuf_parse_result(result);
  return tree;
}

std::vector<TreeNode> ParseTree::statements() const {
  const TreeNode root(&pg_query__parse_result__descriptor, std::string_view(data_, size_));
  std::vector<TreeNode> out;
  for (const auto& raw : root.children("stmts")) {
    out.push_back(raw.child("stmt"));
  }
  return out;
}

}  // namespace holdfast::postgres
