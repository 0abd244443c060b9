// Attempts, probes and checks, all of them one hello, and the question that follows a check.
#include "proxy/mongo/standing.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/reply.hpp"
#include "proxy/mongo/recognition.hpp"
#include "proxy/spawn.hpp"
#include "proxy/waiting.hpp"

namespace holdfast::proxy::mongo {

namespace {

/// Longest that a member which says nothing keeps the face from being shown.
constexpr auto survey_time = std::chrono::seconds(2);
/// Questions to the database follow each other no faster.
constexpr auto between_questions = std::chrono::seconds(1);

/// What only a database that works can answer, as far as the login reaches.
std::string question_of(const Login& login) {
  wire::Writer writer;
  if (login.is_nobody()) return writer.int32("ping", 1).text("$db", "admin").finish();
  return writer.int32("listDatabases", 1).boolean("nameOnly", true).text("$db", "admin").finish();
}

/// Empty where the answer says that the database works: whoever may not ask, or asks what is no primary any more, is answered, too.
std::string trouble_of(std::string_view body) {
  const auto reply = wire::read_reply(body);
  const bool answered = reply.ok || reply.code == wire::code::unauthorized || reply.code == wire::code::command_not_found ||
                        wire::code::is_state_change(reply.code);
  return answered ? std::string() : std::string(reply.message);
}

Outcome failed(Failure failure, std::string error, std::string code = {}) {
  Outcome outcome;
  outcome.failure = failure;
  outcome.error = std::move(error);
  outcome.code = std::move(code);
  return outcome;
}

}  // namespace

struct MongoStanding::Impl : std::enable_shared_from_this<MongoStanding::Impl> {
  Impl(Executor on, std::shared_ptr<const BackendSettings> with, Members& of, BufferPool& buffers, Hooks to)
      : home(std::move(on)), settings(std::move(with)), members(of), pool(buffers), hooks(std::move(to)), free(home),
        answered(home) {}

  const Executor home;
  const std::shared_ptr<const BackendSettings> settings;
  Members& members;
  BufferPool& pool;
  const Hooks hooks;
  MongoStanding* owner = nullptr;
  std::uint64_t era = 0;  // counts the closes
  std::shared_ptr<Backend> backend;
  std::size_t member = 0;
  CoroutineLock free;           // one exchange at a time
  /// A hello that was sent; a check whose time is up leaves it to the next one.
  struct Ask {
    bool done = false;
    std::optional<wire::MemberHello> hello;
  };
  std::shared_ptr<Ask> asking;
  Condition answered;
  std::shared_ptr<Backend> questioner;  // to `member`, for questions to its database
  bool questioning = false;
  SteadyTime last_question{};
  std::string unwell;                   // why the last question failed; empty: it did not

  [[nodiscard]] std::size_t index_of(const config::HostPort& endpoint) const {
    const auto& hosts = members.hosts();
    return static_cast<std::size_t>(std::ranges::find(hosts, endpoint) - hosts.begin());
  }
  Outcome outcome_of(std::size_t index, const wire::MemberHello& hello);
  Task<Outcome> attempt(config::HostPort endpoint, SteadyTime deadline, std::uint64_t in_era);
  Task<Outcome> probe(config::HostPort endpoint, SteadyTime deadline);
  Task<Outcome> check(SteadyTime deadline);
  Task<> ask(std::shared_ptr<Backend> of, std::shared_ptr<Ask> into);
  Task<> question(std::uint64_t in_era);
  Task<std::string> put_question(std::uint64_t in_era);
  Task<> survey(std::size_t except);
  Task<> watch(std::shared_ptr<Backend> watched, std::uint64_t in_era);
  void drop() {
    if (backend) backend->close();
    backend.reset();
    asking.reset();
    if (questioner) questioner->close();
    questioner.reset();
    unwell.clear();
  }
};

Outcome MongoStanding::Impl::outcome_of(std::size_t index, const wire::MemberHello& hello) {
  auto outcome = members.outcome_of(index, hello, std::chrono::steady_clock::now());
  hooks.learnt();
  return outcome;
}

Task<Outcome> MongoStanding::Impl::attempt(config::HostPort endpoint, SteadyTime deadline, std::uint64_t in_era) {
  const auto self = shared_from_this();
  const auto index = index_of(endpoint);
  if (auto error = co_await hooks.seek(deadline); !error.empty()) co_return failed(Failure::unreachable, std::move(error));
  endpoint = members.hosts()[index];
  const auto started = std::chrono::steady_clock::now();
  auto opened = co_await Backend::open(settings, endpoint, pool, settings->own, deadline);
  if (!opened.backend) co_return failed(opened.failure, opened.error, opened.code);
  if (members.mismatch(opened.hello).empty()) co_await recognise(*opened.backend, index, members, settings, pool, deadline);
  if (!opened.backend->is_sound()) co_return failed(Failure::unreachable, "it does not say what it is (" + endpoint.to_string() + ")");
  auto outcome = outcome_of(index, opened.hello);
  outcome.latency = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - started);
  if (outcome.failure == Failure::unfit) {
    // It answers, and has another role: that is for the upstream to judge.
    outcome.failure = Failure::none;
    outcome.error.clear();
    co_return outcome;
  }
  if (!outcome.ok() || era != in_era) co_return outcome;
  drop();
  backend = std::move(opened.backend);
  member = index;
  spawn_named(home, watch(backend, in_era), "standing connection", self);
  spawn_named(home, survey(index), "survey of members", self);
  co_return outcome;
}

Task<Outcome> MongoStanding::Impl::probe(config::HostPort endpoint, SteadyTime deadline) {
  const auto self = shared_from_this();
  const auto index = index_of(endpoint);
  if (auto error = co_await hooks.seek(deadline); !error.empty()) co_return failed(Failure::unreachable, std::move(error));
  endpoint = members.hosts()[index];
  const auto opened = co_await Backend::open(settings, endpoint, pool, nullptr, deadline);
  if (!opened.backend) co_return failed(opened.failure, opened.error, opened.code);
  if (members.mismatch(opened.hello).empty()) co_await recognise(*opened.backend, index, members, settings, pool, deadline);
  if (!opened.backend->is_sound()) co_return failed(Failure::unreachable, "it does not say what it is (" + endpoint.to_string() + ")");
  co_return outcome_of(index, opened.hello);
}

Task<Outcome> MongoStanding::Impl::check(SteadyTime deadline) {
  const auto self = shared_from_this();
  const auto asked = backend;
  if (!asked) co_return failed(Failure::unreachable, "there is no connection to check");
  const auto started = std::chrono::steady_clock::now();
  // A hello may have ended before spawning it returns, where the connection is gone: then there is none to join.
  const auto waited = asking ? asking : std::make_shared<Ask>();
  if (!asking) {
    asking = waited;
    spawn_named(home, ask(asked, waited), "hello", self);
  }
  SteadyTimer limit(home, deadline);
  limit.async_wait([this, self](const boost::system::error_code& error) {
    if (!error) answered.notify();
  });
  while (!waited->done && std::chrono::steady_clock::now() < deadline) co_await answered.wait();
  const auto& hello = waited->hello;
  if (!hello || !hello->ok) {
    const auto why = std::string(!waited->done ? "no answer to hello in time" : hello ? hello->error : "the connection was lost");
    co_return failed(Failure::unreachable, why + (" (" + members.hosts()[member].to_string() + ")"));
  }
  auto outcome = outcome_of(member, *hello);
  if (outcome.failure == Failure::unfit) outcome.failure = Failure::none;
  outcome.latency = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - started);
  if (backend == asked && !questioning && last_question + between_questions <= std::chrono::steady_clock::now()) {
    questioning = true;
    spawn_named(home, question(era), "question to the database", self);
  }
  // One that did not answer is given the time that is left to do so now.
  while (questioning && !unwell.empty() && std::chrono::steady_clock::now() < deadline) co_await answered.wait();
  if (outcome.ok() && !unwell.empty()) outcome = failed(Failure::unreachable, unwell);
  co_return outcome;
}

Task<> MongoStanding::Impl::question(std::uint64_t in_era) {
  const auto self = shared_from_this();
  last_question = std::chrono::steady_clock::now();
  const auto asked = member;
  const auto of = backend;
  auto trouble = co_await put_question(in_era);
  questioning = false;
  if (era != in_era || backend != of) co_return;
  unwell = std::move(trouble);
  answered.notify();
  if (!unwell.empty()) hooks.doubt(asked, unwell);
}

/// A sentence where the member's database does not answer.
Task<std::string> MongoStanding::Impl::put_question(std::uint64_t in_era) {
  const auto limit = std::chrono::steady_clock::now() + hooks.question_time();
  const auto address = members.hosts()[member];
  const auto name = " (" + address.to_string() + ")";
  if (!questioner || !questioner->is_quiet()) {
    auto opened = co_await Backend::open(settings, address, pool, settings->own, limit);
    if (opened.ours) co_return unwell;  // nobody was asked: what is known stays
    if (!opened.backend) co_return opened.error;
    if (era != in_era) co_return std::string();
    questioner = std::move(opened.backend);
  }
  const auto used = questioner;
  // One that did not say what it is may do so by now.
  const bool doubted = backend && used->process == backend->process && !members.executes_once(member, used->process);
  if (doubted) co_await recognise(*used, member, members, settings, pool, limit);
  if (era != in_era) co_return std::string();
  Deadline end(home, limit, [used] { used->close(); });
  const auto body = co_await used->run(question_of(*settings->own));
  if (end.expired()) co_return "the database does not answer in time" + name;
  // The loss of a connection is told by the standing one.
  const auto trouble = body ? trouble_of(*body) : std::string();
  co_return trouble.empty() ? trouble : "the database does not answer: " + trouble + name;
}

Task<> MongoStanding::Impl::ask(std::shared_ptr<Backend> of, std::shared_ptr<Ask> into) {
  const auto self = shared_from_this();
  const auto guard = co_await free.take();
  into->hello = co_await of->hello();
  into->done = true;
  if (asking == into) asking.reset();
  answered.notify();
}

Task<> MongoStanding::Impl::survey(std::size_t except) {
  const auto self = shared_from_this();
  const auto deadline = std::chrono::steady_clock::now() + survey_time;
  for (std::size_t i = 0; i < members.hosts().size(); ++i) {
    if (i == except || members.is_retired(i)) continue;
    const auto address = members.hosts()[i];  // a copy: the list grows
    const auto outcome = co_await probe(address, deadline);
    static_cast<void>(outcome);  // what it said is with the members
  }
  members.all_asked();
  hooks.learnt();
}

/// Tells of the end of the standing connection. While an exchange is under way its own error tells.
Task<> MongoStanding::Impl::watch(std::shared_ptr<Backend> watched, std::uint64_t in_era) {
  const auto self = shared_from_this();
  for (;;) {
    co_await watched->wait_for_end();
    if (era != in_era || backend != watched) co_return;
    // A hello under way is what woke this up: it is looked at again once that is read.
    while (free.held()) {
      const auto guard = co_await free.take();
      static_cast<void>(guard);
    }
    if (era != in_era || backend != watched) co_return;
    if (watched->is_quiet()) continue;
    const auto name = members.hosts()[member].to_string();
    drop();
    if (owner != nullptr && owner->on_lost) {
      const auto on_lost = owner->on_lost;  // a copy, because what is called may replace it
      on_lost("the connection was lost (" + name + ")");
    }
    co_return;
  }
}

MongoStanding::MongoStanding(Executor home, std::shared_ptr<const BackendSettings> settings, Members& members, BufferPool& pool,
                             Hooks hooks)
    : impl_(std::make_shared<Impl>(std::move(home), std::move(settings), members, pool, std::move(hooks))) {
  impl_->owner = this;
}

MongoStanding::~MongoStanding() {
  impl_->owner = nullptr;
  close();
}

Task<Outcome> MongoStanding::attempt(config::HostPort endpoint, SteadyTime deadline) {
  const auto impl = impl_;
  co_return co_await impl->attempt(std::move(endpoint), deadline, impl->era);
}

Task<Outcome> MongoStanding::probe(config::HostPort endpoint, SteadyTime deadline) {
  const auto impl = impl_;
  co_return co_await impl->probe(std::move(endpoint), deadline);
}

Task<Outcome> MongoStanding::check(SteadyTime deadline) {
  const auto impl = impl_;
  co_return co_await impl->check(deadline);
}

void MongoStanding::close() {
  ++impl_->era;
  impl_->drop();
}

}  // namespace holdfast::proxy::mongo
