// A tree of the paths, and a walk along it.
#include "protocol/mongo/projection.hpp"

#include <map>
#include <memory>

#include "protocol/mongo/document.hpp"

namespace holdfast::mongo {

namespace {

/// Servers take no document that is nested more deeply.
constexpr int depth_max = 200;

/// A field of the projection: named itself, or a part of longer paths.
struct Node {
  std::map<std::string, std::unique_ptr<Node>, std::less<>> inner;  // none: the whole field is meant
};

/// False where the path, or one that begins or ends within it, was there before.
bool add_path(Node& root, std::string_view path) {
  auto* node = &root;
  for (int depth = 0; depth < depth_max; ++depth) {
    const auto dot = path.find('.');
    const auto name = path.substr(0, dot);
    if (name.empty() || name.front() == '$') return false;
    const bool last = dot == std::string_view::npos;
    const auto [found, fresh] = node->inner.try_emplace(std::string(name));
    if (fresh) found->second = std::make_unique<Node>();
    if (!fresh && (last || found->second->inner.empty())) return false;
    if (last) return true;
    node = found->second.get();
    path.remove_prefix(dot + 1);
  }
  return false;
}

class Projection {
 public:
  /// False where it is more than paths.
  [[nodiscard]] bool read(std::string_view fields) {
    std::optional<bool> mode, of_id;
    bool plain = true;
    const auto walk = for_each(fields, [&](const Element& field) {
      plain = plain && (field.kind == Kind::boolean || field.kind == Kind::number);
      const bool shown = field.truth();
      if (field.key == "_id") {
        plain = plain && !of_id;
        of_id = shown;
      } else {
        plain = plain && mode.value_or(shown) == shown && add_path(root_, field.key);
        mode = shown;
      }
      return plain;
    });
    if (walk != Walk::complete || (!mode && !of_id)) return false;
    includes_ = mode.value_or(of_id.value_or(true));
    // One that includes shows _id unless it says otherwise, one that excludes hides it only where it says so.
    const bool names_id = includes_ ? of_id.value_or(true) : !of_id.value_or(true);
    return !names_id || add_path(root_, "_id");
  }

  [[nodiscard]] std::optional<std::string> apply(std::string_view document) const { return object(document, root_, 0); }

 private:
  using Text = std::optional<std::string>;

  [[nodiscard]] Text object(std::string_view document, const Node& node, int depth) const {
    if (depth > depth_max) return std::nullopt;
    Writer writer;
    bool sound = true;
    const auto walk = for_each(document, [&](const Element& field) {
      const auto found = node.inner.find(field.key);
      const bool named = found != node.inner.end();
      if (!named || found->second->inner.empty()) {
        if (named == includes_) writer.raw(field.raw);
      } else {
        sound = put(writer, field, field.key, *found->second, depth);
      }
      return sound;
    });
    return walk == Walk::complete ? Text(writer.finish()) : std::nullopt;
  }

  /// Each document in the array, however deep; what is neither is not shown where paths are included.
  [[nodiscard]] Text array(std::string_view values, const Node& node, int depth) const {
    if (depth > depth_max) return std::nullopt;
    Writer writer;
    bool sound = true;
    std::size_t count = 0;
    const auto walk = for_each(values, [&](const Element& value) {
      const bool nested = value.kind == Kind::document || value.kind == Kind::array;
      if (nested || !includes_) sound = put(writer, value, std::to_string(count++), node, depth);
      return sound;
    });
    return walk == Walk::complete ? Text(writer.finish()) : std::nullopt;
  }

  /// One value on the way of a path.
  [[nodiscard]] bool put(Writer& writer, const Element& value, std::string_view key, const Node& node, int depth) const {
    const auto text = value.kind == Kind::document ? object(value.bytes, node, depth + 1)
                      : value.kind == Kind::array  ? array(value.bytes, node, depth + 1)
                                                   : Text(std::string());
    if (!text) return false;
    if (value.kind == Kind::document) {
      writer.document(key, *text);
    } else if (value.kind == Kind::array) {
      writer.array(key, *text);
    } else if (!includes_) {
      writer.raw(value.raw);  // all stay, and keep their places
    }
    return true;
  }

  Node root_;
  bool includes_ = true;
};

}  // namespace

std::optional<std::string> project(std::string_view document, std::string_view projection) {
  Projection read;
  return read.read(projection) ? read.apply(document) : std::nullopt;
}

std::optional<std::string> with_projected_value(std::string_view reply, std::string_view projection) {
  Writer writer;
  bool sound = true;
  const auto walk = for_each(reply, [&](const Element& field) {
    if (field.key != "value" || field.kind == Kind::null) {
      writer.raw(field.raw);
      return true;
    }
    const auto value = field.kind == Kind::document ? project(field.bytes, projection) : std::nullopt;
    sound = value.has_value();
    if (sound) writer.document("value", *value);
    return sound;
  });
  return walk == Walk::complete ? std::optional(writer.finish()) : std::nullopt;
}

}  // namespace holdfast::mongo
