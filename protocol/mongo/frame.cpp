// Lengths first, then everything else.
#include "protocol/mongo/frame.hpp"

#include <algorithm>
#include <boost/crc.hpp>
#include <cstring>

#include "protocol/mongo/document.hpp"

namespace holdfast::mongo {

namespace {

constexpr std::size_t checksum_size = 4;

std::int32_t int32_at(std::string_view bytes, std::size_t at) {
  std::int32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

void put_int32(std::string& out, std::int32_t value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); }

void put_header(std::string& out, std::size_t length, std::int32_t request_id, std::int32_t response_to, std::int32_t opcode) {
  put_int32(out, static_cast<std::int32_t>(length));
  put_int32(out, request_id);
  put_int32(out, response_to);
  put_int32(out, opcode);
}

/// Takes a document from the front of `rest`.
FrameError take_document(std::string_view& rest, std::string_view& into) {
  if (rest.size() < 4) return FrameError::truncated;
  const auto length = document_length(rest);
  if (!length) return FrameError::bad_document;
  if (*length > rest.size()) return FrameError::truncated;
  into = rest.substr(0, *length);
  rest.remove_prefix(*length);
  return into.back() == '\0' ? FrameError::none : FrameError::bad_document;
}

/// Takes a kind 1 section, without its kind byte, from the front of `rest`.
FrameError take_sequence(std::string_view& rest, Sequence& into) {
  if (rest.size() < 4) return FrameError::truncated;
  const auto stated = int32_at(rest, 0);
  if (stated < 5 || static_cast<std::size_t>(stated) > rest.size()) return FrameError::truncated;
  auto section = rest.substr(4, static_cast<std::size_t>(stated) - 4);
  rest.remove_prefix(static_cast<std::size_t>(stated));
  const auto end = section.find('\0');
  if (end == std::string_view::npos) return FrameError::truncated;
  into.name = section.substr(0, end);
  into.documents = section.substr(end + 1);
  for (auto left = into.documents; !left.empty();) {
    std::string_view document;
    if (const auto error = take_document(left, document); error != FrameError::none) return error;
  }
  return FrameError::none;
}

bool share_a_name(const std::vector<Sequence>& sequences) {
  if (sequences.size() < 2) return false;
  std::vector<std::string_view> names;
  names.reserve(sequences.size());
  for (const auto& each : sequences) names.push_back(each.name);
  return holds_one_twice(std::move(names));
}

FrameError take_sections(std::string_view rest, Message& into) {
  bool body = false;
  while (!rest.empty()) {
    const char kind = rest.front();
    rest.remove_prefix(1);
    if (kind == 0) {
      if (body) return FrameError::two_bodies;
      body = true;
      if (const auto error = take_document(rest, into.body); error != FrameError::none) return error;
    } else if (kind == 1) {
      if (into.sequences.size() == sequences_max) return FrameError::many_sequences;
      Sequence sequence;
      if (const auto error = take_sequence(rest, sequence); error != FrameError::none) return error;
      into.sequences.push_back(sequence);
    } else {
      return FrameError::unknown_section;
    }
  }
  if (share_a_name(into.sequences)) return FrameError::same_sequence;
  return body ? FrameError::none : FrameError::no_body;
}

}  // namespace

bool holds_one_twice(std::vector<std::string_view> names) {
  std::ranges::sort(names);
  return std::ranges::adjacent_find(names) != names.end();
}

bool closes(FrameError error) { return error != FrameError::none && error <= FrameError::bad_query; }

int code_of(FrameError error) {
  switch (error) {
    case FrameError::unknown_section: return 40432;
    case FrameError::two_bodies: return 40430;
    case FrameError::no_body: return 40587;
    case FrameError::same_sequence: return 40431;
    case FrameError::long_body: return 10334;
    case FrameError::bad_document: return 22;
    default: return 15;
  }
}

const char* sentence_of(FrameError error) {
  switch (error) {
    case FrameError::none: return "no error";
    case FrameError::bad_length: return "the message has an impossible length";
    case FrameError::bad_opcode: return "the message has an opcode that is not served";
    case FrameError::compressed: return "the message is compressed, which was not negotiated";
    case FrameError::bad_compression: return "the compressed message cannot be unpacked";
    case FrameError::bad_checksum: return "the message has a wrong checksum";
    case FrameError::unknown_flag: return "the message has a required flag that is not known";
    case FrameError::bad_query: return "the OP_QUERY message cannot be read";
    case FrameError::truncated: return "a section of the message ends behind the message";
    case FrameError::unknown_section: return "a section of the message has an unknown kind";
    case FrameError::two_bodies: return "the message has two bodies";
    case FrameError::no_body: return "the message has no body";
    case FrameError::same_sequence: return "the message has two document sequences of one name";
    case FrameError::many_sequences: return "the message has too many document sequences";
    case FrameError::long_body: return "the body of the message is longer than 16 MiB";
    case FrameError::bad_document: return "the message holds a document that is no BSON";
  }
  return "";
}

FrameError parse_header(std::string_view bytes, Header& into) {
  const auto length = int32_at(bytes, 0);
  if (length < static_cast<std::int32_t>(header_size) || length > static_cast<std::int32_t>(message_length_max)) {
    return FrameError::bad_length;
  }
  into.length = static_cast<std::size_t>(length);
  into.request_id = int32_at(bytes, 4);
  into.response_to = int32_at(bytes, 8);
  into.opcode = int32_at(bytes, 12);
  switch (into.opcode) {
    case opcode::reply:
    case opcode::query:
    case opcode::message: return FrameError::none;
    case opcode::compressed: return FrameError::compressed;
    default: return FrameError::bad_opcode;
  }
}

Arrival arrival_of(std::string_view bytes) {
  Arrival arrival;
  if (bytes.size() < header_size) return arrival;
  Header header;
  arrival.error = parse_header(bytes, header);
  if (arrival.error != FrameError::none && arrival.error != FrameError::compressed) return arrival;
  arrival.wanted = header.length;
  arrival.whole = bytes.size() >= header.length;
  return arrival;
}

FrameError parse_message(std::string_view frame, Message& into) {
  if (frame.size() < header_size) return FrameError::bad_length;
  if (const auto error = parse_header(frame, into.header); error != FrameError::none) return error;
  if (into.header.length != frame.size() || frame.size() < header_size + 4) return FrameError::bad_length;
  if (into.header.opcode != opcode::message) return FrameError::bad_opcode;
  into.flags = static_cast<std::uint32_t>(int32_at(frame, header_size));
  if ((into.flags & flag::required & ~(flag::checksum_present | flag::more_to_come)) != 0) return FrameError::unknown_flag;
  auto sections = frame.substr(header_size + 4);
  if ((into.flags & flag::checksum_present) != 0) {
    if (sections.size() < checksum_size) return FrameError::bad_checksum;
    sections.remove_suffix(checksum_size);
    const auto stated = static_cast<std::uint32_t>(int32_at(frame, frame.size() - checksum_size));
    if (crc32c(frame.substr(0, frame.size() - checksum_size)) != stated) return FrameError::bad_checksum;
  }
  return take_sections(sections, into);
}

FrameError parse_query(std::string_view frame, Message& into) {
  if (frame.size() < header_size) return FrameError::bad_length;
  if (const auto error = parse_header(frame, into.header); error != FrameError::none) return error;
  if (into.header.length != frame.size()) return FrameError::bad_length;
  if (into.header.opcode != opcode::query) return FrameError::bad_opcode;
  auto rest = frame.substr(header_size);
  if (rest.size() < 4) return FrameError::bad_query;
  rest.remove_prefix(4);
  const auto end = rest.find('\0');
  if (end == std::string_view::npos) return FrameError::bad_query;
  into.collection = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  if (rest.size() < 8) return FrameError::bad_query;
  rest.remove_prefix(8);
  return take_document(rest, into.body) == FrameError::none ? FrameError::none : FrameError::bad_query;
}

FrameError parse_request(std::string_view frame, Message& into) {
  Header header;
  static_cast<void>(parse_header(frame, header));
  const auto error = header.opcode == opcode::query ? parse_query(frame, into) : parse_message(frame, into);
  return error == FrameError::none && into.body.size() > body_length_max ? FrameError::long_body : error;
}

std::size_t next_document(std::string_view documents) {
  const auto length = document_length(documents);
  return length && *length <= documents.size() ? *length : documents.size();
}

std::string make_message(std::int32_t request_id, std::int32_t response_to, std::uint32_t flags, std::string_view body,
                         const std::vector<Sequence>& sequences) {
  std::size_t length = header_size + 4 + 1 + body.size();
  for (const auto& each : sequences) length += 1 + 4 + each.name.size() + 1 + each.documents.size();
  std::string out;
  out.reserve(length);
  put_header(out, length, request_id, response_to, opcode::message);
  put_int32(out, static_cast<std::int32_t>(flags & ~flag::checksum_present));
  out += '\0';
  out += body;
  for (const auto& each : sequences) {
    out += '\1';
    put_int32(out, static_cast<std::int32_t>(4 + each.name.size() + 1 + each.documents.size()));
    out += each.name;
    out += '\0';
    out += each.documents;
  }
  return out;
}

std::string make_reply(std::int32_t request_id, std::int32_t response_to, std::string_view body) {
  constexpr std::int32_t await_capable = 8;
  constexpr std::size_t fields = 4 + 8 + 4 + 4;
  std::string out;
  out.reserve(header_size + fields + body.size());
  put_header(out, header_size + fields + body.size(), request_id, response_to, opcode::reply);
  put_int32(out, await_capable);
  out.append(8, '\0');  // no cursor
  put_int32(out, 0);    // from the first
  put_int32(out, 1);    // one document
  out += body;
  return out;
}

std::string make_answer(std::int32_t request_id, const Message& request, std::string_view body) {
  if (request.header.opcode == opcode::query) return make_reply(request_id, request.header.request_id, body);
  return make_message(request_id, request.header.request_id, 0, body);
}

std::uint32_t crc32c(std::string_view bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

}  // namespace holdfast::mongo
