// Takes requests from the queue as their replies come, in the order that the protocol gives.
#include "protocol/postgres/reply_tracker.hpp"

#include "protocol/postgres/messages.hpp"

namespace holdfast::postgres {

void RequestQueue::push(const Request& request) {
  if (size() == slots_.size()) {
    std::vector<Request> larger(slots_.size() * 2);
    const auto count = size();
    for (std::size_t i = 0; i < count; ++i) larger[i] = (*this)[i];
    slots_.swap(larger);
    head_ = 0;
    tail_ = count;
  }
  slots_[tail_ & mask()] = request;
  ++tail_;
}

bool ReplyTracker::push(const Request& request) {
  Request numbered = request;
  numbered.number = next_number_;
  if (!push_again(numbered)) return false;
  ++next_number_;
  return true;
}

bool ReplyTracker::push_again(const Request& request) {
  if (request.kind == RequestKind::sync) {
    // A server that reads COPY data ignores Sync until the copy ends.
    if (copy_in_) {
      ++ignored_syncs_;
      return false;
    }
    segment_open_ = client_segment_open_ = false;
    skip_to_sync_ = false;
    requests_.push(request);
    return true;
  }
  // After an error the server reads nothing but Sync.
  if (skip_to_sync_) return false;
  if (request.kind == RequestKind::copy_end) {
    copy_in_ = false;
    if (requests_.empty()) return false;  // left over from a copy that failed: the server ignores it too
  } else {
    // A Query ends the segment that it stands in, as Sync does.
    segment_open_ = request.kind != RequestKind::query && request.kind != RequestKind::function_call;
    const bool clients = request.owner == Owner::client || request.owner == Owner::replay;
    client_segment_open_ = segment_open_ && (clients || client_segment_open_);
  }
  requests_.push(request);
  return true;
}

void ReplyTracker::pop_front() {
  requests_.pop_front();
  while (!requests_.empty() && requests_.front().kind == RequestKind::copy_end) requests_.pop_front();
}

void ReplyTracker::begin_copy_in() {
  // Sync messages already sent are ignored by the server until the copy ends; copy_end marks that in the queue.
  copy_in_ = true;
  ignored_syncs_ = 0;
  ignored_sync_ = 0;
  std::size_t keep = 1;
  bool in_copy = true;
  const auto size = requests_.size();
  for (std::size_t i = 1; i < size; ++i) {
    if (in_copy && requests_[i].kind == RequestKind::copy_end) {
      copy_in_ = false;
      in_copy = false;
      continue;
    }
    if (in_copy && requests_[i].kind == RequestKind::sync) {
      ++ignored_syncs_;
      ignored_sync_ = requests_[i].number;
      continue;
    }
    requests_[keep++] = requests_[i];
  }
  while (requests_.size() > keep) requests_.pop_back();
  if (requests_.front().kind == RequestKind::execute) segment_open_ = client_segment_open_ = requests_.back().kind != RequestKind::sync;
}

/// Nothing else can have this ReadyForQuery: a Query has it only behind an answer.
bool ReplyTracker::answers_ignored_sync() const {
  if (ignored_syncs_ == 0) return false;
  if (requests_.empty()) return true;
  const auto& front = requests_[0];
  if (front.kind == RequestKind::query) return !front.completed_part && !failed_;
  return front.kind != RequestKind::sync && front.kind != RequestKind::function_call;
}

Reply ReplyTracker::on_reply(char type) {
  Reply reply;
  const auto finish = [&] {
    reply.finished = true;
    reply.request = requests_.front();
    pop_front();
  };
  if (type == backend::ready_for_query && answers_ignored_sync()) {
    --ignored_syncs_;
    if (requests_.empty()) segment_open_ = client_segment_open_ = skip_to_sync_ = false;
    failed_ = false;
    reply.ready = reply.finished = true;
    reply.request.kind = RequestKind::sync;
    reply.request.number = ignored_sync_;
    return reply;
  }
  if (type != backend::ready_for_query) ignored_syncs_ = 0;  // what stands behind them is answered, or the copy has ended well
  if (requests_.empty()) {
    reply.expected = false;
    return reply;
  }
  auto& front = requests_.front();
  reply.owner = front.owner;
  const auto expect = [&](RequestKind kind) {
    if (front.kind == kind) {
      finish();
    } else {
      reply.expected = false;
    }
  };
  const bool running = front.kind == RequestKind::query || front.kind == RequestKind::execute;
  switch (type) {
    case backend::parse_complete: expect(RequestKind::parse); break;
    case backend::bind_complete: expect(RequestKind::bind); break;
    case backend::close_complete: expect(RequestKind::close); break;
    case backend::no_data: expect(RequestKind::describe); break;
    case backend::row_description:
      if (front.kind == RequestKind::describe) {
        finish();
      } else {
        front.rows_seen = true;
        reply.expected = running;
      }
      break;
    case backend::parameter_description: reply.expected = front.kind == RequestKind::describe; break;
    case backend::command_complete:
    case backend::empty_query:
    case backend::portal_suspended:
      copy_in_ = false;
      if (front.kind == RequestKind::execute) {
        finish();
      } else if (front.kind == RequestKind::query) {
        front.completed_part = true;
        reply.request = front;
      } else {
        reply.expected = false;
      }
      break;
    case backend::copy_in:
    case backend::copy_both:
      begin_copy_in();
      reply.expected = running;
      break;
    case backend::copy_out:
      front.rows_seen = true;
      reply.expected = running;
      break;
    case backend::function_result: reply.expected = front.kind == RequestKind::function_call; break;
    case backend::ready_for_query:
      copy_in_ = false;
      failed_ = false;
      reply.ready = true;
      if (front.kind == RequestKind::query || front.kind == RequestKind::function_call ||
          front.kind == RequestKind::sync) {
        finish();
      } else {
        reply.expected = false;
      }
      break;
    default: front.rows_seen = true; break;
  }
  return reply;
}

Owner ReplyTracker::on_error(std::vector<Request>& skipped) {
  copy_in_ = false;
  if (requests_.empty()) return Owner::client;
  const auto owner = requests_.front().owner;
  failed_ = true;
  const auto kind = requests_.front().kind;
  if (kind == RequestKind::query || kind == RequestKind::function_call) return owner;
  while (!requests_.empty() && requests_.front().kind != RequestKind::sync) {
    skipped.push_back(requests_.front());
    pop_front();
  }
  if (requests_.empty()) skip_to_sync_ = true;
  return owner;
}

void ReplyTracker::reset() {
  requests_.clear();
  segment_open_ = client_segment_open_ = copy_in_ = skip_to_sync_ = failed_ = false;
  ignored_syncs_ = 0;
}

void ReplyTracker::unwind(const Mark& mark, std::vector<Request>& undone) {
  while (!requests_.empty() && requests_.back().number >= mark.number) {
    undone.push_back(requests_.back());
    requests_.pop_back();
  }
  segment_open_ = mark.segment_open;
  client_segment_open_ = mark.client_segment_open;
  copy_in_ = mark.copy_in;
  skip_to_sync_ = mark.skip;
  ignored_syncs_ = mark.ignored_syncs;
}

}  // namespace holdfast::postgres
