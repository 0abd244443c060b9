// Several hosts with roles, and the health checks that notice when one no longer is what is wished for.
#include "tests/unit/proxy/upstream_script.hpp"

namespace holdfast::proxy::test {
namespace {

/// Hosts by what they are; nullopt is down.
using Hosts = std::vector<std::optional<Role>>;

void serve(UpstreamScript& script, const Hosts& hosts) {
  script.answer_attempt = script.answer_probe = [hosts](std::size_t i) { return hosts[i] ? good(*hosts[i]) : bad(); };
}

/// What libpq would do: the first that is up and fits; prefer-standby takes a standby before anything else.
std::optional<std::size_t> expected_host(const Hosts& hosts, Wish wish) {
  for (std::size_t i = 0; i < hosts.size() && wish == Wish::prefer_standby; ++i) {
    if (hosts[i] == Role::standby) return i;
  }
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (hosts[i] && fits(*hosts[i], wish)) return i;
  }
  return std::nullopt;
}

TEST(UpstreamHosts, takes_the_host_that_libpq_would_take_in_every_combination) {
  const std::vector<std::optional<Role>> kinds{std::nullopt, Role::primary, Role::standby, Role::read_only, Role::unknown};
  for (const auto wish : {Wish::any, Wish::read_write, Wish::read_only, Wish::primary, Wish::standby, Wish::prefer_standby}) {
    for (const auto first : kinds) {
      for (const auto second : kinds) {
        for (const auto third : kinds) {
          const Hosts hosts{first, second, third};
          UpstreamScript script(settings_of(3, wish));
          serve(script, hosts);
          script.start();
          script.advance(0ms);
          ASSERT_FALSE(script.attempt) << "the walk has an end";
          const auto expected = expected_host(hosts, wish);
          ASSERT_EQ(script.machine.state() == State::connected, expected.has_value());
          if (!expected) continue;
          ASSERT_EQ(script.machine.status().current, "db-" + std::to_string(*expected) + ":5432");
          script.enter(1, wish);
          ASSERT_TRUE(script.granted(1));
          ASSERT_EQ(script.grants.at(1), *expected);
        }
      }
    }
  }
}

TEST(UpstreamHosts, fits_says_what_libpq_says_of_roles_that_are_known) {
  struct Row { Wish wish; bool primary, standby, read_only; };
  for (const auto& row : {Row{Wish::any, true, true, true}, Row{Wish::read_write, true, false, false},
                          Row{Wish::read_only, false, true, true}, Row{Wish::primary, true, false, true},
                          Row{Wish::standby, false, true, false}, Row{Wish::prefer_standby, true, true, true}}) {
    EXPECT_EQ(fits(Role::primary, row.wish), row.primary);
    EXPECT_EQ(fits(Role::standby, row.wish), row.standby);
    EXPECT_EQ(fits(Role::read_only, row.wish), row.read_only);
  }
}

TEST(UpstreamHosts, fails_over_to_a_standby_as_soon_as_it_is_promoted) {
  UpstreamScript script(settings_of(2, Wish::read_write));
  serve(script, {Role::primary, Role::standby});
  script.start();
  script.advance(1s);
  ASSERT_EQ(script.machine.status().current, "db-0:5432");
  serve(script, {std::nullopt, Role::standby});
  script.lose();
  script.enter(1, Wish::read_write);
  script.advance(2s);
  EXPECT_FALSE(script.granted(1));
  EXPECT_EQ(script.machine.status().last_error, "db-1:5432 is standby, which target_session_attrs does not allow");
  serve(script, {std::nullopt, Role::primary});
  EXPECT_LE(script.advance_until([&] { return script.granted(1); }), 150ms);
  EXPECT_EQ(script.grants.at(1), 1U);
}

TEST(UpstreamHosts, an_old_primary_that_comes_back_as_standby_is_not_taken) {
  UpstreamScript script(settings_of(2, Wish::primary));
  serve(script, {Role::primary, std::nullopt});
  script.start();
  script.advance(0ms);
  serve(script, {Role::standby, std::nullopt});
  script.lose();
  script.advance(4s);
  EXPECT_EQ(script.machine.state(), State::reconnecting);
  serve(script, {Role::standby, Role::primary});
  script.advance(1s);
  EXPECT_EQ(script.machine.status().current, "db-1:5432");
}

TEST(UpstreamHosts, leaves_a_primary_that_a_check_finds_demoted) {
  UpstreamScript script(settings_of(2, Wish::read_write));
  serve(script, {Role::primary, Role::primary});
  script.start();
  script.advance(30s);
  ASSERT_TRUE(script.check);
  serve(script, {Role::standby, Role::primary});
  script.check_ends(good(Role::standby));
  EXPECT_EQ(script.closes, 1);
  EXPECT_TRUE(script.told(EventKind::connection_lost));
  script.advance(200ms);
  EXPECT_EQ(script.machine.status().current, "db-1:5432");
}

TEST(UpstreamHosts, counts_a_walk_over_all_hosts_as_one_attempt) {
  UpstreamScript script(settings_of(3));
  serve(script, {std::nullopt, std::nullopt, std::nullopt});
  script.start();
  script.advance(5s);
  EXPECT_EQ(script.machine.status().attempts, 1U);
  script.advance(10s);
  EXPECT_EQ(script.machine.status().attempts, 2U);
}

TEST(UpstreamHosts, one_host_that_is_not_ready_keeps_the_walk_from_counting) {
  UpstreamScript script(settings_of(2));
  script.answer_probe = script.answer_attempt = [](std::size_t i) {
    return i == 0 ? bad(Failure::not_ready, "starting up") : bad();
  };
  script.start();
  script.advance(100s);
  EXPECT_EQ(script.machine.status().attempts, 0U);
}

TEST(UpstreamHosts, a_rejected_login_is_what_is_shown_whatever_the_other_hosts_say) {
  for (const auto& other : {bad(Failure::unreachable, "no route"), good(Role::standby)}) {
    UpstreamScript script(settings_of(2, Wish::primary));
    script.start();
    script.attempt_ends(bad(Failure::rejected, "password authentication failed"));
    script.attempt_ends(other);
    EXPECT_EQ(script.machine.status().last_error, "password authentication failed");
  }
}

TEST(UpstreamHosts, shows_each_endpoint_with_its_role) {
  UpstreamScript script(settings_of(2, Wish::read_write));
  serve(script, {Role::standby, Role::primary});
  script.start();
  script.advance(0ms);
  const auto status = script.machine.status();
  ASSERT_EQ(status.endpoints.size(), 2U);
  EXPECT_EQ(status.endpoints[0].role, Role::standby);
  EXPECT_EQ(status.endpoints[1].role, Role::primary);
  EXPECT_EQ(status.endpoints[1].address, "db-1:5432");
  EXPECT_TRUE(status.endpoints[1].healthy);
  EXPECT_EQ(status.endpoints[1].latency, 1ms);
}

// ---- health ----

TEST(UpstreamHealth, checks_on_the_interval) {
  UpstreamScript script;
  script.connect();
  EXPECT_EQ(script.advance_until([&] { return script.check.has_value(); }), 30s);
  EXPECT_EQ(script.check->deadline - script.now, 5s);
  script.check_ends(good());
  EXPECT_EQ(script.advance_until([&] { return script.check.has_value(); }), 30s);
}

TEST(UpstreamHealth, only_failures_in_a_row_mean_a_loss) {
  UpstreamScript script;
  script.connect();
  for (int round = 0; round < 3; ++round) {
    for (int failure = 0; failure < 2; ++failure) {
      script.advance_until([&] { return script.check.has_value(); });
      script.check_ends(bad(Failure::unreachable, "timed out"));
    }
    script.advance_until([&] { return script.check.has_value(); });
    script.check_ends(good());
    ASSERT_EQ(script.machine.state(), State::connected);
  }
  EXPECT_EQ(std::ranges::count(script.kinds(), EventKind::health_check_failed), 6);
  for (int failure = 0; failure < 3; ++failure) {
    ASSERT_EQ(script.machine.state(), State::connected);
    script.advance_until([&] { return script.check.has_value(); });
    script.check_ends(bad(Failure::unreachable, "timed out"));
  }
  EXPECT_EQ(script.machine.state(), State::reconnecting);
  EXPECT_EQ(script.closes, 1);
  EXPECT_EQ(script.machine.status().last_error, "timed out");
}

TEST(UpstreamHealth, follows_a_failed_check_with_the_next_after_a_second) {
  UpstreamScript script;
  script.connect();
  script.advance_until([&] { return script.check.has_value(); });
  script.check_ends(bad());
  EXPECT_EQ(script.advance_until([&] { return script.check.has_value(); }), 1s);
}

TEST(UpstreamHealth, the_answer_about_a_connection_that_is_gone_does_not_touch_its_successor) {
  auto settings = settings_of();
  settings.health.failures = 1;
  UpstreamScript script(settings);
  script.connect();
  script.do_and_take([&](auto& machine) { machine.want_check(script.now + 5s); });
  script.lose();
  script.probe_ends(good());
  script.attempt_ends(good());
  ASSERT_EQ(script.machine.state(), State::connected);
  script.check_ends(bad(Failure::unreachable, "closed"));
  EXPECT_EQ(script.machine.state(), State::connected);
  EXPECT_FALSE(script.told(EventKind::health_check_failed));
}

TEST(UpstreamHosts, one_that_is_found_out_later_is_probed_and_taken_when_it_has_the_role) {
  UpstreamScript script(settings_of(1, Wish::primary));
  script.connect();
  script.lose();
  script.machine.add_endpoint({"db-9", 5432}, script.now);
  script.take();
  ASSERT_TRUE(script.probes.contains(1)) << "at once, while there is no primary";
  script.probe_ends(good(Role::primary), 1);
  script.attempt_ends(good(Role::primary));
  EXPECT_EQ(script.machine.state(), State::connected);
  EXPECT_EQ(script.machine.status().current, "db-9:5432");
}

TEST(UpstreamHosts, one_whose_address_is_found_out_during_the_attempt_is_connected_by_that) {
  UpstreamScript script(settings_of(1, Wish::primary));
  script.start();
  script.machine.rename_endpoint(0, {"db-9", 5432});
  script.attempt_ends(good(Role::primary));
  EXPECT_EQ(script.machine.state(), State::connected);
  EXPECT_EQ(script.machine.status().current, "db-9:5432");
}

TEST(UpstreamHosts, one_that_is_retired_is_neither_probed_nor_attempted_nor_shown_until_it_is_back) {
  UpstreamScript script(settings_of(2, Wish::primary));
  script.connect();
  script.machine.retire(1, true);
  EXPECT_EQ(script.machine.status().endpoints.size(), 1U);
  script.lose();
  EXPECT_FALSE(script.probes.contains(1));
  script.machine.retire(1, false);
  script.advance(100ms);
  EXPECT_TRUE(script.probes.contains(1));
  EXPECT_EQ(script.machine.status().endpoints.size(), 2U);
}

}  // namespace
}  // namespace holdfast::proxy::test
