// In the steady state a statement costs no allocation, whichever protocol it comes by.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "tests/unit/proxy/session_script.hpp"

namespace {
std::size_t allocations = 0;

void* counted(std::size_t size) {
  ++allocations;
  if (void* block = std::malloc(size)) return block;
  throw std::bad_alloc();
}
}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete[](void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t) noexcept { std::free(block); }

namespace holdfast::proxy::postgres::test {
namespace {

/// One round: everything there and back, straight through the machine as the shell does it.
void pass(SessionMachine& machine, const std::string& request, std::vector<char>& reply) {
  const auto up = machine.on_client_bytes(request);
  ASSERT_EQ(up.forward, request.size());
  const auto down = machine.on_server_bytes(reply);
  ASSERT_EQ(down.forward, reply.size());
}

std::size_t allocations_of(const std::string& request, const std::string& replies, const std::string& before = {},
                           const std::string& before_replies = {}) {
  SessionMachine machine(with_replay());
  EXPECT_TRUE(machine.on_attached(1, server_parameters(), SessionMachine::Attachment::first));
  std::vector<char> reply(before_replies.begin(), before_replies.end());
  if (!before.empty()) pass(machine, before, reply);
  reply.assign(replies.begin(), replies.end());
  for (int i = 0; i < 20; ++i) pass(machine, request, reply);
  const auto start = allocations;
  for (int i = 0; i < 1000; ++i) pass(machine, request, reply);
  return allocations - start;
}

TEST(steady_state, counts_allocations_at_all) {
  const auto start = allocations;
  const std::string text(1000, 'x');
  EXPECT_EQ(allocations - start, 1U) << text.size();
}

TEST(steady_state, costs_no_allocation_for_simple_queries) {
  EXPECT_EQ(allocations_of(query("SELECT a FROM t WHERE b = 1"), result() + complete("SELECT 1") + ready('I')), 0U);
  EXPECT_EQ(allocations_of(query("SELECT app.f(1)"), result() + complete("SELECT 1") + ready('I')), 0U);
}

TEST(steady_state, costs_no_allocation_for_unnamed_statements) {
  EXPECT_EQ(allocations_of(parse("", "SELECT a FROM t WHERE b = $1") + bind("") + describe('P') + execute() + sync(),
                           parsed + bound + result() + complete("SELECT 1") + ready('I')),
            0U);
}

TEST(steady_state, costs_no_allocation_for_prepared_statements) {
  EXPECT_EQ(allocations_of(bind("s1") + execute() + sync(), bound + row({"1"}) + complete("SELECT 1") + ready('I'),
                           parse("s1", "SELECT a FROM t WHERE b = $1") + sync(), parsed + ready('I')),
            0U);
}

TEST(steady_state, costs_no_allocation_for_transactions_and_pipelines) {
  EXPECT_EQ(allocations_of(query("BEGIN") + query("INSERT INTO t VALUES (1)") + query("COMMIT"),
                           complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T') + complete("COMMIT") +
                               ready('I')),
            0U);
}

}  // namespace
}  // namespace holdfast::proxy::postgres::test
