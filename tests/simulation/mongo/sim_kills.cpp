// Commands that concern several members, as session_several.cpp performs them, and what must be left of nothing.
#include <gtest/gtest.h>

#include <algorithm>

#include "protocol/mongo/several.hpp"
#include "tests/simulation/mongo/sim_world.hpp"

namespace holdfast::simulation::mongo {

using wire::Writer;

// ---- the shell ----

void SimSession::kill_cursors() {
  const auto question = run_->cursor_kills->next();
  if (!question) {
    if (!gone_) to_client_(wire::make_answer(1, run_->request, run_->cursor_kills->answer()));
    return finish();
  }
  const auto member = question->member ? question->member : world_.ready();
  const auto heard = [this](const std::optional<std::string>& reply) {
    run_->cursor_kills->on_reply(reply);
    kill_cursors();
  };
  if (!member) return heard(std::nullopt);
  world_.ask_member(*member, login_, question->body, clock_.now() + settings_.connection_timeout, heard);
}

void SimSession::kill_sessions() {
  const auto member = run_->session_kills->next(world_.ready());
  if (!member) return perform();
  world_.ask_member(*member, login_, std::string(run_->request.body), clock_.now() + settings_.connection_timeout, [this](const auto& reply) {
    const auto refused = proxy::mongo::SessionKills::on_reply(reply, "a member");
    if (!refused) return kill_sessions();
    if (!gone_) to_client_(wire::make_answer(1, run_->request, *refused));
    finish();
  });
}

// ---- what must hold ----

/// Its client is told that this is done.
void SimSession::check_killed() const {
  if (!run_->session_kills) return;
  wire::Message message;
  ASSERT_EQ(wire::parse_message(run_->reply, message), wire::FrameError::none);
  if (!wire::read_reply(message.body).ok) return;
  for (const auto& session : wire::sessions_to_kill(run_->request.body)) {
    for (const auto member : run_->asked) world_.check_killed(member, session, run_->since);
  }
}

void SimWorld::check_killed(std::size_t member, const std::string& session, Time before) {
  EXPECT_FALSE(servers_.set.at(member).has_of(session, before)) << "a session that was killed lives on at member " << member;
}

// ---- clients that do so ----

/// Opens a few cursors, wherever they come to be, and ends them with one command.
void SimClient::kill_many(std::vector<std::int64_t> cursors, std::uint64_t left) {
  if (left > 0) {
    auto writer = command("find");
    writer.int32("mark", 0).int32("batchSize", 1);
    if (left % 2 == 0) writer.document("$readPreference", Writer().text("mode", "secondaryPreferred").finish());
    add_session(writer, false);
    return ask(writer.finish(), [this, cursors, left](const Reply& reply) mutable {
      if (reply.fields.ok && reply.fields.cursor) cursors.push_back(*reply.fields.cursor);
      kill_many(cursors, left - 1);
    });
  }
  if (cursors.empty()) return think();
  Writer list, writer;
  for (std::size_t i = 0; i < cursors.size(); ++i) list.int64(std::to_string(i), cursors[i]);
  history_ += " killCursors";
  writer.text("killCursors", "t").array("cursors", list.finish()).text("$db", "shop");
  ask(writer.finish(), [this, cursors](const Reply& reply) {
    think();
    if (!reply.fields.ok) return;
    std::size_t told = 0;
    for (const auto key : {"cursorsKilled", "cursorsNotFound", "cursorsAlive", "cursorsUnknown"}) {
      const auto found = wire::find(reply.body, key);
      if (!found) continue;
      static_cast<void>(wire::for_each(found->bytes, [&](const wire::Element& each) {
        EXPECT_EQ(std::ranges::count(cursors, each.integer), 1) << "a cursor that nobody asked for";
        return ++told, true;
      }));
    }
    EXPECT_EQ(told, cursors.size()) << "each cursor is told of once";
  });
}

/// Ends its own session, with what it has left behind on any member.
void SimClient::kill_session() {
  history_ += " killSessions";
  Writer writer;
  const auto one = Writer().binary("id", session_id(), 4).finish();
  writer.array("killSessions", Writer().document("0", one).finish()).text("$db", "admin");
  ask(writer.finish(), [this](const Reply&) { think(); });
}

}  // namespace holdfast::simulation::mongo
