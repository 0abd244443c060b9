// One question for each process, mostly.
#include "proxy/mongo/recognition.hpp"

#include <utility>

namespace holdfast::proxy::mongo {

namespace {

SteadyTime now() { return std::chrono::steady_clock::now(); }

Members::Asker asker_of(const Login* login) {
  return login != nullptr && !login->is_nobody() ? Members::Asker::user : Members::Asker::anybody;
}

Task<> ask(Backend& of, std::size_t member, Members& members, SteadyTime deadline) {
  const auto asker = asker_of(of.login.get());
  if (!members.wants_build(member, of.process, asker, now())) co_return;
  auto build = co_await of.build(deadline);
  if (of.is_sound()) {
    members.note_build(member, of.process, asker, std::move(build));
  } else if (now() >= deadline) {
    members.note_silence(member, now());
  }
}

}  // namespace

Task<> recognise(Backend& of, std::size_t member, Members& members, std::shared_ptr<const BackendSettings> settings, BufferPool& buffers,
                 SteadyTime deadline) {
  co_await ask(of, member, members, deadline);
  const auto own = settings->own;
  const bool as_user = of.is_sound() && of.process && asker_of(of.login.get()) == Members::Asker::anybody &&
                       asker_of(own.get()) == Members::Asker::user &&
                       members.wants_build(member, of.process, Members::Asker::user, now());
  if (!as_user) co_return;
  const auto address = members.hosts()[member];  // a copy: the list grows
  const auto opened = co_await Backend::open(settings, address, buffers, own, deadline);
  if (opened.backend && members.mismatch(opened.hello).empty()) {
    co_await ask(*opened.backend, member, members, deadline);
  }
}

}  // namespace holdfast::proxy::mongo
