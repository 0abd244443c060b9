// The ring of events: numbers, what is missed, who is woken; and how an event is written.
#include "admin/event_feed.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "admin/event_text.hpp"

namespace holdfast::admin {
namespace {

proxy::Event event(proxy::EventKind kind, std::string reason = {}) {
  proxy::Event event;
  event.kind = kind;
  event.connection = "orders";
  event.reason = std::move(reason);
  return event;
}

void append(EventFeed& feed, int count) {
  for (int i = 0; i < count; ++i) feed.append(event(proxy::EventKind::connected));
}

std::vector<std::uint64_t> ids(const EventFeed::Batch& batch) {
  std::vector<std::uint64_t> all;
  for (const auto& each : batch.events) all.push_back(each->id);
  return all;
}

using Ids = std::vector<std::uint64_t>;

TEST(EventFeed, numbers_events_from_one_and_gives_what_follows) {
  EventFeed feed(8);
  EXPECT_EQ(feed.last(), 0U);
  EXPECT_TRUE(feed.read(0, 10).events.empty());
  append(feed, 5);
  EXPECT_EQ(feed.last(), 5U);
  EXPECT_EQ(ids(feed.read(0, 10)), (Ids{1, 2, 3, 4, 5}));
  EXPECT_EQ(ids(feed.read(3, 10)), (Ids{4, 5}));
  EXPECT_EQ(ids(feed.read(1, 2)), (Ids{2, 3}));
  EXPECT_TRUE(feed.read(5, 10).events.empty());
}

TEST(EventFeed, says_how_many_it_no_longer_holds) {
  EventFeed feed(4);
  append(feed, 10);
  const auto batch = feed.read(2, 10);
  EXPECT_EQ(batch.missed, 4U);
  EXPECT_EQ(batch.last_missed, 6U);
  EXPECT_EQ(ids(batch), (Ids{7, 8, 9, 10}));
  EXPECT_EQ(feed.read(6, 10).missed, 0U);
}

TEST(EventFeed, a_number_of_an_earlier_process_begins_anew) {
  EventFeed feed(4);
  EXPECT_TRUE(feed.read(7, 10).other_run);
  append(feed, 2);
  const auto batch = feed.read(7, 10);
  EXPECT_TRUE(batch.other_run);
  EXPECT_EQ(batch.missed, 0U);
  EXPECT_EQ(ids(batch), (Ids{1, 2}));
}

TEST(EventFeed, wakes_once_until_the_woken_one_reads) {
  EventFeed feed;
  int woken = 0;
  append(feed, 1);
  feed.on_wake([&woken] { ++woken; });
  append(feed, 3);
  EXPECT_EQ(woken, 1);
  feed.awake();
  EXPECT_EQ(woken, 1);
  append(feed, 1);
  EXPECT_EQ(woken, 2);
  feed.on_wake({});
  append(feed, 1);
  EXPECT_EQ(woken, 2);
}

TEST(EventFeed, does_not_keep_all_that_a_server_says) {
  EventFeed feed;
  feed.append(event(proxy::EventKind::connection_lost, std::string(100'000, 'x')));
  EXPECT_EQ(feed.read(0, 1).events.front()->event.reason.size(), 1024U);
}

TEST(EventFeed, leaves_no_number_out_however_many_threads_append) {
  EventFeed feed(64);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&feed] { append(feed, 500); });
  std::uint64_t after = 0, seen = 0, missed = 0;
  while (after < 2000) {
    const auto batch = feed.read(after, 16);
    missed += batch.missed;
    after += batch.missed;
    for (const auto& each : batch.events) {
      ASSERT_EQ(each->id, ++after);
      ++seen;
    }
  }
  EXPECT_EQ(seen + missed, 2000U);
  for (auto& thread : threads) thread.join();
}

TEST(EventText, has_the_fields_of_its_kind) {
  auto scheduled = event(proxy::EventKind::reconnect_scheduled);
  scheduled.attempt = 2;
  scheduled.max_retries = 3;
  scheduled.delay = proxy::milliseconds(250);
  EXPECT_EQ(event_text({7, scheduled}),
            "id: 7\nevent: database-reconnect-scheduled\n"
            R"(data: {"id":7,"time":"1970-01-01T00:00:00.000Z","connectionId":"orders","attempt":2,"maxRetries":3,)"
            R"("delayMs":250})" "\n\n");
  auto reconnected = event(proxy::EventKind::reconnected);
  reconnected.downtime = proxy::milliseconds(812);
  reconnected.sessions_restored = 12;
  EXPECT_NE(event_text({8, reconnected}).find(R"("downtimeMs":812,"sessionsRestored":12,"statementsReplayed":0})"),
            std::string::npos);
  const auto connected = event_text({9, event(proxy::EventKind::connected, "unused")});
  EXPECT_NE(connected.find("\nevent: database-connected\n"), std::string::npos);
  EXPECT_TRUE(connected.ends_with("\"connectionId\":\"orders\"}\n\n")) << connected;
  EXPECT_NE(event_text({10, event(proxy::EventKind::config_changed, "health.interval health.timeout")})
                .find(R"("changed":["health.interval","health.timeout"]})"),
            std::string::npos);
}

TEST(EventText, a_reason_stays_on_one_line_and_in_utf_8) {
  const auto text = event_text({1, event(proxy::EventKind::connection_lost, "a\nevent: forged\r\xff")});
  EXPECT_NE(text.find("a\\nevent: forged\\r\xef\xbf\xbd"), std::string::npos) << text;
  EXPECT_EQ(text.find("\nevent: forged"), std::string::npos);
}

TEST(EventText, a_gap_bears_the_number_to_resume_after) {
  EXPECT_EQ(gap_text({}, {}), "");
  EventFeed::Batch batch;
  batch.missed = 4;
  batch.last_missed = 6;
  EXPECT_EQ(gap_text(batch, {}),
            "id: 6\nevent: gap\n"
            R"(data: {"id":6,"time":"1970-01-01T00:00:00.000Z","connectionId":null,"missed":4})" "\n\n");
  EventFeed::Batch other;
  other.other_run = true;
  EXPECT_NE(gap_text(other, {}).find(R"("missed":0,"restarted":true})"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::admin
