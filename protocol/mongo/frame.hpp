// Takes MongoDB wire messages apart and puts them together (MongoDB manual, "MongoDB Wire Protocol"). It knows no command.
//
//   header: messageLength requestID responseTo opCode, four int32 | OP_MSG: flagBits, sections (kind 0: the body, kind 1: a
//   named sequence of documents), CRC-32C | OP_QUERY: flags, name\0, skip, return, document | OP_REPLY: flags, cursor, from, count, documents
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::mongo {

inline constexpr std::size_t header_size = 16;
/// What servers take and give (maxMessageSizeBytes).
inline constexpr std::size_t message_length_max = 48'000'000;
/// What servers take as the body of a request: a document of 16 MiB, and what comes with one.
inline constexpr std::size_t body_length_max = (16 * 1024 + 16) * 1024;
/// No command has more than two. Each one's name is compared with all the others', and is told from them in memory.
inline constexpr std::size_t sequences_max = 100;

namespace opcode {
inline constexpr std::int32_t reply = 1, query = 2004, compressed = 2012, message = 2013;
}

namespace flag {
inline constexpr std::uint32_t checksum_present = 1, more_to_come = 2, exhaust_allowed = 1U << 16;
/// A receiver must know every flag of the lower half.
inline constexpr std::uint32_t required = 0xFFFF;
}  // namespace flag

struct Header {
  std::size_t length = 0;
  std::int32_t request_id = 0, response_to = 0, opcode = 0;
};

/// What is wrong with a message. The first group ends the connection, as it does at a server; the rest is answered.
enum class FrameError {
  none,
  bad_length,     // under 16 or over the limit
  bad_opcode,     // unknown, or a legacy one that no current server takes
  compressed,     // to be unpacked first, where that was negotiated
  bad_compression,
  bad_checksum,
  unknown_flag,
  bad_query,      // OP_QUERY that cannot be read
  truncated,      // a section ends behind the message
  unknown_section,
  two_bodies,
  no_body,
  same_sequence,  // two sequences of one name
  many_sequences,
  long_body,      // of a request
  bad_document,
};

/// Does a server close the connection without an answer?
[[nodiscard]] bool closes(FrameError error);
/// The code and the sentence of a server's answer to the others.
[[nodiscard]] int code_of(FrameError error);
[[nodiscard]] const char* sentence_of(FrameError error);

/// `bytes` holds at least header_size bytes. The length is compared with its limits before anything is done with it.
[[nodiscard]] FrameError parse_header(std::string_view bytes, Header& into);

/// How far a message has come.
struct Arrival {
  FrameError error = FrameError::none;  // of its header; `compressed` is one for who has not asked for that
  std::size_t wanted = header_size;     // bytes: of all of it, once its header is there
  bool whole = false;
};
/// Of the message that begins with `bytes`.
[[nodiscard]] Arrival arrival_of(std::string_view bytes);

struct Sequence {
  std::string_view name;
  std::string_view documents;  // one behind the other, each with a length that fits
};

/// A request, or a reply, in parts that point into the frame.
struct Message {
  Header header;
  std::uint32_t flags = 0;
  std::string_view body;             // one document
  std::vector<Sequence> sequences;   // OP_MSG only
  std::string_view collection;       // OP_QUERY only: `DATABASE.$cmd`
};

/// A whole OP_MSG.
[[nodiscard]] FrameError parse_message(std::string_view frame, Message& into);
/// A whole OP_QUERY.
[[nodiscard]] FrameError parse_query(std::string_view frame, Message& into);
/// One of the two, with a body that a server would take. The header of `frame` has been read.
[[nodiscard]] FrameError parse_request(std::string_view frame, Message& into);
/// Calls `visit` with each document of a sequence.
template <class Visit>
void for_each_document(const Sequence& sequence, Visit visit);

/// An OP_MSG with this body and these sequences, without a checksum.
[[nodiscard]] std::string make_message(std::int32_t request_id, std::int32_t response_to, std::uint32_t flags,
                                       std::string_view body, const std::vector<Sequence>& sequences = {});
/// An OP_REPLY with one document.
[[nodiscard]] std::string make_reply(std::int32_t request_id, std::int32_t response_to, std::string_view body);
/// The answer to `request` in the opcode that it came in.
[[nodiscard]] std::string make_answer(std::int32_t request_id, const Message& request, std::string_view body);

[[nodiscard]] std::uint32_t crc32c(std::string_view bytes);

// ---- detail ----

[[nodiscard]] std::size_t next_document(std::string_view documents);

template <class Visit>
void for_each_document(const Sequence& sequence, Visit visit) {
  for (auto rest = sequence.documents; !rest.empty();) {
    const auto length = next_document(rest);
    visit(rest.substr(0, length));
    rest.remove_prefix(length);
  }
}

/// Does a name stand there twice? In the time that sorting takes.
[[nodiscard]] bool holds_one_twice(std::vector<std::string_view> names);

}  // namespace holdfast::mongo
