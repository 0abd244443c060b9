// libresolv; a state of its own for each look-up, so that a changed resolv.conf counts.
#include "proxy/mongo/seed_lookup.hpp"

#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>

#include <algorithm>
#include <random>
#include <span>
#include <utility>

namespace holdfast::proxy::mongo {

namespace {

constexpr auto failure_age = std::chrono::seconds(1);
/// Longest that one server is waited for, in seconds, and how often all are asked: a look-up nobody can end must end by itself.
constexpr int ask_time = 2, ask_times = 2;

class Resolver {
 public:
  Resolver() {
    usable_ = ::res_ninit(&state_) == 0;
    state_.retrans = std::min(state_.retrans, ask_time);
    state_.retry = std::min(state_.retry, ask_times);
  }
  ~Resolver() {
    if (usable_) ::res_nclose(&state_);
  }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  enum class Missing { is_an_error, is_none };
  /// Calls `take` with each record of that type. A sentence where there is no answer. The name is whole: no search list.
  template <class Take>
  std::string query(const std::string& name, ns_type type, Missing missing, Take take) {
    const auto failed = [&](const std::string& why) { return "cannot look up " + name + ": " + why; };
    if (!usable_) return failed("the resolver cannot be set up");
    std::vector<unsigned char> answer(NS_MAXMSG);
    const int length = ::res_nquery(&state_, name.c_str(), ns_c_in, type, answer.data(), static_cast<int>(answer.size()));
    if (length < 0) {
      const bool none = state_.res_h_errno == HOST_NOT_FOUND || state_.res_h_errno == NO_DATA;
      return none && missing == Missing::is_none ? std::string() : failed(::hstrerror(state_.res_h_errno));
    }
    ns_msg message;
    if (::ns_initparse(answer.data(), length, &message) != 0) return failed("the answer cannot be read");
    for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
      ns_rr record;
      if (::ns_parserr(&message, ns_s_an, i, &record) != 0) return failed("the answer cannot be read");
      if (ns_rr_type(record) != type) continue;  // an alias on the way
      if (!take(message, record)) return failed("a record cannot be read");
    }
    return {};
  }

 private:
  struct __res_state state_ {};
  bool usable_ = false;
};

/// RFC 2782: priority, weight, port, target.
bool take_target(const ns_msg& message, const ns_rr& record, std::vector<config::HostPort>& into) {
  constexpr std::size_t target_at = 6;
  const auto* data = ns_rr_rdata(record);
  if (ns_rr_rdlen(record) <= target_at) return false;
  char target[NS_MAXDNAME];
  if (::dn_expand(ns_msg_base(message), ns_msg_end(message), data + target_at, target, sizeof target) < 0) return false;
  into.push_back({target, static_cast<std::uint16_t>(ns_get16(data + 4))});
  return into.back().port != 0;
}

/// RFC 1035, section 3.3.14: strings, each behind its length, which belong together.
bool take_text(const ns_rr& record, std::vector<std::string>& into) {
  auto& text = into.emplace_back();
  std::span rest(ns_rr_rdata(record), ns_rr_rdlen(record));
  while (!rest.empty()) {
    const std::size_t length = rest.front();
    if (length >= rest.size()) return false;
    text.append(reinterpret_cast<const char*>(rest.data()) + 1, length);
    rest = rest.subspan(1 + length);
  }
  return true;
}

SeedRecords look_up(const config::MongoSrv& srv, SeedLookup::What what) {
  SeedRecords records;
  Resolver resolver;
  using Missing = Resolver::Missing;
  records.error = resolver.query(srv.name(), ns_t_srv, Missing::is_an_error, [&](const ns_msg& message, const ns_rr& record) {
    const std::chrono::seconds ttl(ns_rr_ttl(record));
    records.ttl = records.targets.empty() ? ttl : std::min(records.ttl, ttl);
    return take_target(message, record, records.targets);
  });
  if (!records.error.empty()) return records;
  if (what == SeedLookup::What::all) {
    records.error = resolver.query(srv.host, ns_t_txt, Missing::is_none,
                                   [&](const ns_msg&, const ns_rr& record) { return take_text(record, records.texts); });
  }
  std::ranges::shuffle(records.targets, std::minstd_rand(std::random_device{}()));
  return records;
}

}  // namespace

struct SeedLookup::Lookup {
  explicit Lookup(const Executor& home) : answered(home) {}
  Condition answered;
  bool done = false;
  SteadyTime at{};
  SeedRecords records;
};

SeedLookup::SeedLookup(Executor home) : home_(std::move(home)) {}

SeedLookup::~SeedLookup() { thread_.join(); }

Task<SeedRecords> SeedLookup::ask(config::MongoSrv srv, What what, SteadyTime deadline) {
  const auto now = [] { return std::chrono::steady_clock::now(); };
  if (!latest_ || (latest_->done && (latest_->records.error.empty() || latest_->at + failure_age < now()))) {
    latest_ = std::make_shared<Lookup>(home_);
    asio::post(thread_, [home = home_, lookup = latest_, srv, what] {
      asio::post(home, [lookup, records = look_up(srv, what)]() mutable {
        lookup->records = std::move(records);
        lookup->done = true;
        lookup->at = std::chrono::steady_clock::now();
        lookup->answered.notify();
      });
    });
  }
  const auto lookup = latest_;
  SteadyTimer limit(home_, deadline);
  limit.async_wait([lookup](const boost::system::error_code& error) {
    if (!error) lookup->answered.notify();
  });
  while (!lookup->done && now() < deadline) co_await lookup->answered.wait();
  if (lookup->done) co_return lookup->records;
  SeedRecords none;
  none.error = "timed out looking up " + srv.name();
  co_return none;
}

}  // namespace holdfast::proxy::mongo
