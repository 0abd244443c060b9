// Which request a server's message answers. Requests go in as they are sent, replies take them out in order.
// PostgreSQL documentation, "Message Flow": simple query, extended query, pipelining, COPY.
//
//   client ── push() ──► [ parse bind execute sync | query | … ] ──► on_reply() takes from the front
//
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "protocol/postgres/statement_store.hpp"

namespace holdfast::postgres {

enum class RequestKind : std::uint8_t {
  query,
  parse,
  bind,
  describe,
  execute,
  close,
  function_call,
  copy_end,  // CopyDone or CopyFail: no reply of its own, ends the time in which a server ignores Sync
  sync,
};

enum class Owner : std::uint8_t {
  client,
  holdfast,  // a segment of our own: neither replies nor errors reach the client
  injected,  // a Parse of ours within the client's segment: its reply is dropped, its error is the client's
  replay,    // a message of the client's that is sent again: its reply was given before, and is only compared
};

struct Request {
  std::uint64_t number = 0;        // counted by the tracker, in the order in which they were sent
  RequestKind kind{};
  Owner owner = Owner::client;
  bool rows_seen = false;          // something of its result has reached the client
  bool completed_part = false;     // query: at least one CommandComplete came
  StatementId statement = no_statement;  // query, parse, execute: what runs; close: what is closed
  StatementId previous = no_statement;   // parse: what the name meant before; close: `statement` if its backend never knew it
};

/// A queue in one block of memory that grows and is never copied per message.
class RequestQueue {
 public:
  [[nodiscard]] bool empty() const { return head_ == tail_; }
  [[nodiscard]] std::size_t size() const { return tail_ - head_; }
  [[nodiscard]] Request& front() { return slots_[head_ & mask()]; }
  [[nodiscard]] Request& back() { return slots_[(tail_ - 1) & mask()]; }
  [[nodiscard]] Request& operator[](std::size_t index) { return slots_[(head_ + index) & mask()]; }
  [[nodiscard]] const Request& operator[](std::size_t index) const { return slots_[(head_ + index) & mask()]; }
  void push(const Request& request);
  void pop_front() { ++head_; }
  void pop_back() { --tail_; }
  void clear() { head_ = tail_; }

 private:
  [[nodiscard]] std::size_t mask() const { return slots_.size() - 1; }
  std::vector<Request> slots_{16};
  std::size_t head_ = 0, tail_ = 0;
};

/// What a message of the server meant.
struct Reply {
  Owner owner = Owner::client;   // whose request it answers; client for messages that answer none
  bool expected = true;          // false: no request can have this answer
  bool finished = false;         // `request` was taken from the queue: the caller releases what it holds
  bool ready = false;            // ReadyForQuery: the segment is over
  Request request{};
};

class ReplyTracker {
 public:
  /// A request is on its way to the server. False when the server will not read it (after an error up to Sync, Sync
  /// within COPY): then nothing was queued and what the request holds stays the caller's.
  [[nodiscard]] bool push(const Request& request);
  /// The same for a request that has its number from an earlier push, on another backend.
  [[nodiscard]] bool push_again(const Request& request);
  /// Of the request that was pushed last.
  [[nodiscard]] std::uint64_t last_number() const { return next_number_ - 1; }

  /// A message of type `type` came from the server. ErrorResponse goes to on_error.
  Reply on_reply(char type);

  /// An ERROR came: in the extended protocol what stands before the next Sync is skipped by the server and appended to
  /// `skipped`. Returns whose request failed.
  Owner on_error(std::vector<Request>& skipped);

  [[nodiscard]] RequestQueue& requests() { return requests_; }
  [[nodiscard]] const RequestQueue& requests() const { return requests_; }
  [[nodiscard]] bool empty() const { return requests_.empty(); }
  /// Messages of an extended segment were sent, its Sync was not.
  [[nodiscard]] bool segment_open() const { return segment_open_; }
  /// The same, and some of them are the client's own.
  [[nodiscard]] bool client_segment_open() const { return client_segment_open_; }
  /// The server reads COPY data from the client.
  [[nodiscard]] bool copying_in() const { return copy_in_; }
  /// The segment at the front has had its error; the server skips to its Sync.
  [[nodiscard]] bool failed() const { return failed_; }
  void reset();

  /// State that push() changes, to take back what was pushed since.
  struct Mark {
    std::uint64_t number = 0;
    bool segment_open = false, client_segment_open = false, copy_in = false, skip = false;
    std::size_t ignored_syncs = 0;
  };
  [[nodiscard]] Mark mark() const {
    return {next_number_, segment_open_, client_segment_open_, copy_in_, skip_to_sync_, ignored_syncs_};
  }
  /// Takes back everything pushed since `mark`, newest first, into `undone`. What was sent before it may have been answered since.
  void unwind(const Mark& mark, std::vector<Request>& undone);

 private:
  void begin_copy_in();
  void pop_front();
  [[nodiscard]] bool answers_ignored_sync() const;

  RequestQueue requests_;
  std::uint64_t next_number_ = 1;  // 0 is before all
  bool segment_open_ = false, client_segment_open_ = false;
  bool copy_in_ = false;
  bool skip_to_sync_ = false;  // the server skips, and the Sync that ends it has not been sent yet
  bool failed_ = false;
  // Sent in a COPY, which reads over them. Where it fails before it has come to them they are answered.
  std::size_t ignored_syncs_ = 0;
  std::uint64_t ignored_sync_ = 0;  // number of the last one that had one
};

}  // namespace holdfast::postgres
