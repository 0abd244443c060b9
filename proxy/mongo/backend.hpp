// One connection to a member, logged in, used by one command at a time: whole messages there and back.
#pragma once

#include <boost/intrusive/list.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "config/config.hpp"
#include "protocol/mongo/capability.hpp"
#include "protocol/mongo/compression.hpp"
#include "protocol/mongo/hello.hpp"
#include "protocol/mongo/reply.hpp"
#include "protocol/read_buffer.hpp"
#include "proxy/mongo/login.hpp"
#include "proxy/mongo/pool_book.hpp"
#include "proxy/stream.hpp"
#include "proxy/tls.hpp"
#include "proxy/upstream_types.hpp"

namespace holdfast::proxy::mongo {

namespace wire = holdfast::mongo;

/// What every connection upstream is made with.
struct BackendSettings {
  config::MongoUri uri;
  milliseconds keep_alive_interval{60'000};
  TlsContext tls;                // none: in clear
  std::shared_ptr<Login> own;    // the URI's; nobody where it names none
};

/// While it is lent it stands in the pool's list of those, until its end.
class Backend final : public Pooled, public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  Backend(std::unique_ptr<Stream> stream, BufferPool& pool)
      : stream_(std::move(stream)), pool_(pool), in_(std::make_unique<ReadBuffer>(pool)) {}

  struct Opened {
    std::unique_ptr<Backend> backend;  // none on failure
    wire::MemberHello hello;           // where the member has answered it
    Failure failure = Failure::none;
    std::string error, code;
    bool turned_away = false;          // the member took the connection, and ended it without a word
    bool ours = false;                 // the member was not asked: this host has no descriptor, memory or port left
  };
  /// Connects, says hello and logs in, unless `as` is none or nobody. Ends at `deadline`.
  static Task<Opened> open(std::shared_ptr<const BackendSettings> settings, config::HostPort address, BufferPool& pool,
                           std::shared_ptr<Login> as, SteadyTime deadline);

  struct Exchange {
    bool written = false;   // all of the request
    std::string error;      // empty: there is a reply
    std::string_view frame; // whole; valid until the next exchange
  };
  /// Sends a whole message and reads the next one that comes.
  Task<Exchange> exchange(std::string_view request);
  /// Sends a body of ours to the database `admin` and gives the body of the reply; none where that fails.
  Task<std::optional<std::string>> run(std::string body);
  /// Asks once more what it is.
  Task<std::optional<wire::MemberHello>> hello();
  /// What the server is; none where it refuses to say. Ends at `deadline`, and the connection with it.
  Task<std::optional<wire::Build>> build(SteadyTime deadline);

  /// Lets go of the last reply, and of its memory.
  void rest() {
    in_->consume(std::exchange(held_, 0));
    unpacked_ = std::string();
  }
  /// The last reply, apart from its connection.
  struct Reply {
    std::unique_ptr<ReadBuffer> bytes;
    std::string unpacked;  // where it came compressed
    [[nodiscard]] std::string_view frame() const { return unpacked.empty() ? bytes->data() : std::string_view(unpacked); }
  };
  /// After an exchange that gave one: it can be passed on while the connection is used again.
  [[nodiscard]] Reply take_reply();
  /// Nothing has come that nobody asked for, not even an end, nor what TLS says before one. Costs a system call.
  [[nodiscard]] bool is_quiet();
  /// It can be used again.
  [[nodiscard]] bool is_sound() const { return sound_ && (!login || login->logouts == logouts_); }
  /// From here on it is logged in for this user.
  void belong_to(std::shared_ptr<Login> user);
  /// Does this reply say that the server has ended its login? That of a user who was dropped, or of all where its data was copied anew: no
  /// connection that this user had until then is used again.
  [[nodiscard]] bool is_logged_out(const wire::Reply& reply);
  void close();
  /// Waits until the member says something or ends the connection, without an exchange under way.
  Task<> wait_for_end();

  std::optional<wire::ObjectId> process;  // by its hello; none: it does not tell
  SteadyTime last_answer{};  // when the last exchange ended

 private:
  Task<std::optional<wire::MemberHello>> say(std::string hello);
  /// From here on packs what may be packed, by the first of ours that the server takes too.
  void negotiate(const config::MongoUri& uri, const wire::MemberHello& hello);

  std::unique_ptr<Stream> stream_;
  BufferPool& pool_;
  std::unique_ptr<ReadBuffer> in_;
  std::size_t held_ = 0;  // of in_: the reply that was given out last
  std::int32_t last_request_ = 0;
  bool sound_ = true;
  std::uint64_t logouts_ = 0;  // of its login, when that was made
  std::optional<wire::Compressor> compressor_;
  int zlib_level_ = -1;
  std::string unpacked_;  // the reply that was given out last, where it came compressed
};

}  // namespace holdfast::proxy::mongo
