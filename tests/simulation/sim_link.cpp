// How bytes travel to a server process and back, and what of them is lost when it dies or the network fails.
#include <algorithm>
#include <utility>

#include "tests/simulation/sim_session.hpp"
#include "tests/unit/proxy/session_script.hpp"

namespace holdfast::simulation {

std::size_t Link::write(std::string_view bytes) {
  if (!open_ || write_fails_) return 0;
  if (!alive_) return bytes.size();  // into the void
  last_request_ = std::max(last_request_, clock_.now() + clock_.between(0us, 500us));
  clock_.at(last_request_, [self = shared_from_this(), text = std::string(bytes)] { self->arrive(text); });
  return bytes.size();
}

void Link::arrive(const std::string& bytes) {
  if (!alive_) return;
  backend.feed(bytes);
  if (!std::exchange(working_, true)) work();
}

void Link::work() {
  // One that nobody listens to any more may wait for a lock.
  const bool waits = cut_ && clock_.chance(30);
  clock_.after(clock_.between(10us, waits ? 100ms : clock_.chance(10) ? 20ms : 300us), [self = shared_from_this()] {
    if (!self->alive_ || !self->backend.has_message()) {
      self->working_ = false;
      return;
    }
    if (!self->cut_ && self->backend.next_is_two_phase() && self->clock_.chance(25)) {
      self->die(Death::cut);
      return self->work();
    }
    std::string out;
    // Of a commit the answer is lost more often than chance would have it: nothing is harder to get right.
    if (self->backend.run_message(out) == ModelBackend::Did::commit && self->clock_.chance(1)) self->die(Death::cut);
    self->reply(std::move(out));
    self->work();
  });
}

void Link::reply(std::string bytes) {
  if (bytes.empty() || !open_ || cut_) return;
  outbound_ += bytes;
  last_reply_ = std::max(last_reply_, clock_.now() + clock_.between(0us, 500us));
  clock_.at(last_reply_, [self = shared_from_this(), size = bytes.size()] {
    const auto part = self->outbound_.substr(0, std::min(size, self->outbound_.size()));
    self->outbound_.erase(0, part.size());
    if (self->open_ && !part.empty()) self->on_bytes(part);
  });
}

void Link::close() {
  if (!std::exchange(open_, false)) return;
  // The server notices when it reads next; what has reached it by then it has run.
  clock_.after(clock_.between(500us, cut_ ? 300ms : 30ms), [self = shared_from_this()] {
    std::string ignored;
    if (std::exchange(self->alive_, false)) self->backend.die("FATAL", "08006", ignored);
  });
}

void Link::terminate() {
  std::string unheard;
  if (std::exchange(alive_, false)) backend.die("FATAL", "57P01", unheard);
}

void Link::end(std::string reason) {
  last_reply_ = std::max(last_reply_, clock_.now() + clock_.between(0us, 5ms));
  clock_.at(last_reply_, [self = shared_from_this(), reason] {
    if (self->open_) self->on_end(reason);
  });
}

void Link::die(Death death) {
  if (!alive_) return;
  if (!open_ || cut_) {
    alive_ = alive_ && death == Death::cut;
    std::string unheard;
    if (!alive_) backend.die("FATAL", "57P01", unheard);
    return;
  }
  std::string last;
  if (death == Death::cut) {
    // What was written and has not arrived may be lost from any byte on; the process itself lives on for a while.
    cut_ = true;
    outbound_.resize(clock_.pick(outbound_.size() + 1));
    write_fails_ = clock_.chance(50);
    end("connection reset by peer");
    return;
  }
  alive_ = false;
  // A commit that waits for a standby is told to end: it warns, has committed, and says the same FATAL as any other.
  const bool warns = death == Death::fast_shutdown && clock_.chance(80) && backend.commits_unheard();
  if (warns) last += session::test::notice("WARNING", "57P01", "canceling the wait for synchronous replication");
  backend.die(death == Death::immediate ? "WARNING" : "FATAL", death == Death::immediate ? "57P02" : "57P01", last);
  if (death == Death::crash) {
    outbound_.resize(clock_.pick(outbound_.size() + 1));
    write_fails_ = clock_.chance(50);
  } else if (clock_.chance(90)) {
    reply(std::move(last));
  }
  end(death == Death::crash ? "connection reset by peer" : "the server closed the connection");
}

}  // namespace holdfast::simulation
