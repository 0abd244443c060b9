// Reads and writes BSON documents element by element. libbson walks what comes from outside; its types show in no header.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace holdfast::mongo {

/// What an element's value is, as far as anything here acts on it.
enum class Kind { number, text, document, array, binary, object_id, boolean, null, date, other };

/// One element of a document. All views point into the document.
struct Element {
  std::string_view key;
  Kind kind = Kind::other;
  std::int64_t integer = 0;  // of a number, towards zero; of a boolean 0 or 1; of a date milliseconds
  double real = 0;           // of a number
  bool whole = false;        // a number of type int32 or int64
  std::string_view bytes;    // of a text, a document, an array, a binary, an object id: without length and terminator
  std::string_view raw;      // type, key and value as they stand in the document

  /// As servers read a flag: a boolean, or a number other than zero.
  [[nodiscard]] bool truth() const { return kind == Kind::boolean ? integer != 0 : kind == Kind::number && real != 0; }
};

enum class Walk {
  complete,
  stopped,  // the visitor did not want more
  broken,   // no BSON, or it ends early
};

/// An empty document.
inline constexpr std::string_view empty_document{"\x05\0\0\0\0", 5};

namespace detail {
Walk walk(std::string_view document, void* visitor, bool (*visit)(void*, const Element&));
}

/// Calls `visit` with each element of the document or array; it returns false to stop.
template <class Visit>
Walk for_each(std::string_view document, Visit&& visit) {
  return detail::walk(document, const_cast<void*>(static_cast<const void*>(&visit)), [](void* visitor, const Element& element) {
    return static_cast<bool>((*static_cast<std::remove_reference_t<Visit>*>(visitor))(element));
  });
}

/// The first element of that key; none also where the document breaks off before it.
[[nodiscard]] std::optional<Element> find(std::string_view document, std::string_view key);

/// The length that a document states, where at least four bytes are there; none where no document can have it.
[[nodiscard]] std::optional<std::size_t> document_length(std::string_view bytes);

using ObjectId = std::array<char, 12>;

/// Writes one document. Keys are ours, or come from a document that was read: they hold no zero byte.
class Writer {
 public:
  Writer() : out_(4, '\0') {}
  Writer& int32(std::string_view key, std::int32_t value);
  Writer& int64(std::string_view key, std::int64_t value);
  Writer& real(std::string_view key, double value);
  Writer& boolean(std::string_view key, bool value);
  Writer& text(std::string_view key, std::string_view value);
  Writer& date(std::string_view key, std::int64_t milliseconds);
  Writer& object_id(std::string_view key, const ObjectId& value);
  Writer& binary(std::string_view key, std::string_view value, char subtype = 0);
  Writer& document(std::string_view key, std::string_view value);
  Writer& array(std::string_view key, std::string_view value);
  Writer& texts(std::string_view key, std::initializer_list<std::string_view> values);
  /// An element as Element::raw shows it.
  Writer& raw(std::string_view element) {
    out_ += element;
    return *this;
  }
  /// The document; the writer is of no use afterwards.
  [[nodiscard]] std::string finish();

 private:
  void begin(unsigned char type, std::string_view key);
  std::string out_;
};

}  // namespace holdfast::mongo
