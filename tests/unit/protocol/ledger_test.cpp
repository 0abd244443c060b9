// What a text is to the ledger.
#include "protocol/postgres/ledger.hpp"

#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

LedgerEntry entry(const char* text) { return judge_for_ledger(judge_text(text)); }

TEST(Ledger, records_what_may_leave_something_behind) {
  for (const char* text : {"INSERT INTO t VALUES (1)", "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", "SELECT f(1)",
                           "COPY t FROM STDIN", "SELECT 1 FROM t FOR UPDATE", "SELECT nextval('s')", "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE"}) {
    EXPECT_TRUE(entry(text).writes) << text;
    EXPECT_TRUE(entry(text).can_join) << text;
  }
}

TEST(Ledger, leaves_reads_and_the_session_alone) {
  for (const char* text : {"SELECT count(*) FROM t WHERE lower(a) = 'b'", "SHOW a", "SET a TO 1", "LISTEN a", "BEGIN", "COMMIT", "SAVEPOINT a",
                           "COPY t TO STDOUT", ""}) {
    EXPECT_FALSE(entry(text).writes) << text;
  }
}

TEST(Ledger, never_puts_into_a_transaction_what_cannot_stand_in_one_or_would_mean_something_else) {
  for (const char* text : {"VACUUM", "CREATE DATABASE d", "CREATE INDEX CONCURRENTLY i ON t (a)", "CALL p()", "DO $$ BEGIN END $$", "LOCK TABLE t",
                           "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", "COPY t FROM '/etc/passwd'", "PREPARE TRANSACTION 'a'",
                           "DECLARE c CURSOR FOR SELECT 1", "SELECT FROM WHERE"}) {
    EXPECT_FALSE(entry(text).can_join) << text;
  }
}

TEST(Ledger, knows_a_commit_only_where_it_stands_alone) {
  EXPECT_EQ(entry("COMMIT").control, TransactionControl::commit);
  EXPECT_EQ(entry("END").control, TransactionControl::commit);
  EXPECT_EQ(entry("COMMIT AND CHAIN").control, TransactionControl::commit_chain);
  EXPECT_EQ(entry("INSERT INTO t VALUES (1); COMMIT").control, TransactionControl::none);
  EXPECT_TRUE(entry("INSERT INTO t VALUES (1); COMMIT").writes);
}

}  // namespace
}  // namespace holdfast::postgres
