// The SQL of the ledger.
#include "protocol/postgres/ledger.hpp"

#include <algorithm>

namespace holdfast::postgres {

std::string_view ledger_setup() {
  // The functions run as their owner, so that no role needs a right to the table, and name everything by its schema, so that
  // no search_path changes what they do.
  return R"(-- holdfast: the ledger of `exactly_once: on`. To be run once in each database by a role that may create a schema there.
BEGIN;
CREATE SCHEMA IF NOT EXISTS holdfast;
CREATE TABLE IF NOT EXISTS holdfast.ledger (
  session  pg_catalog.uuid NOT NULL,        -- of a client of holdfast
  sequence pg_catalog.int8 NOT NULL,        -- of its commits
  fence    pg_catalog.bool NOT NULL,        -- true: what had this key before was lost and can not commit any more
  made_at  pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  PRIMARY KEY (session, sequence)
);
REVOKE ALL ON holdfast.ledger FROM PUBLIC;

-- Called in a client's transaction, just before it commits.
CREATE OR REPLACE FUNCTION holdfast.record(pg_catalog.uuid, pg_catalog.int8) RETURNS pg_catalog.bool
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on' THEN
    RETURN false;
  END IF;
  INSERT INTO holdfast.ledger (session, sequence, fence) VALUES ($1, $2, false);
  RETURN true;
END $$;

-- Called after a loss: 'fenced', or 'committed'. It waits for a transaction that holds the key.
CREATE OR REPLACE FUNCTION holdfast.fence(pg_catalog.uuid, pg_catalog.int8) RETURNS pg_catalog.text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  fenced pg_catalog.bool;
BEGIN
  INSERT INTO holdfast.ledger (session, sequence, fence) VALUES ($1, $2, true) ON CONFLICT (session, sequence) DO NOTHING;
  SELECT fence INTO STRICT fenced FROM holdfast.ledger
    WHERE session OPERATOR(pg_catalog.=) $1 AND sequence OPERATOR(pg_catalog.=) $2;
  RETURN CASE WHEN fenced THEN 'fenced' ELSE 'committed' END;
END $$;

-- Fences stay for a day: a transaction that was lost may still be on its way.
CREATE OR REPLACE FUNCTION holdfast.forget(pg_catalog.uuid, pg_catalog.int8) RETURNS pg_catalog.void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM holdfast.ledger WHERE session OPERATOR(pg_catalog.=) $1 AND sequence OPERATOR(pg_catalog.<=) $2
    AND NOT fence
$$;

CREATE OR REPLACE FUNCTION holdfast.sweep() RETURNS pg_catalog.void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM holdfast.ledger
    WHERE made_at OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) '1 day'::pg_catalog.interval)
$$;

-- Every role that logs in through holdfast needs these two; name roles in place of PUBLIC to keep it narrower.
GRANT USAGE ON SCHEMA holdfast TO PUBLIC;
GRANT EXECUTE ON FUNCTION holdfast.record(pg_catalog.uuid, pg_catalog.int8), holdfast.fence(pg_catalog.uuid, pg_catalog.int8),
  holdfast.forget(pg_catalog.uuid, pg_catalog.int8), holdfast.sweep() TO PUBLIC;
COMMIT;
)";
}

std::string_view ledger_removal() {
  return R"(-- holdfast: removes the ledger of `exactly_once: on`. No holdfast may use it any more.
DROP SCHEMA IF EXISTS holdfast CASCADE;
)";
}

std::string_view ledger_check() {
  return "SELECT coalesce(pg_catalog.bool_and(pg_catalog.has_schema_privilege('holdfast', 'USAGE')"
         " AND pg_catalog.has_function_privilege(oid, 'EXECUTE')), false)"
         " AND pg_catalog.count(*) OPERATOR(pg_catalog.=) 4"
         " FROM pg_catalog.pg_proc"
         " WHERE oid OPERATOR(pg_catalog.=) ANY (ARRAY["
         "pg_catalog.to_regprocedure('holdfast.record(uuid,int8)')::pg_catalog.oid,"
         "pg_catalog.to_regprocedure('holdfast.fence(uuid,int8)')::pg_catalog.oid,"
         "pg_catalog.to_regprocedure('holdfast.forget(uuid,int8)')::pg_catalog.oid,"
         "pg_catalog.to_regprocedure('holdfast.sweep()')::pg_catalog.oid])";
}

std::string_view ledger_record() { return "SELECT holdfast.record($1::pg_catalog.uuid, $2::pg_catalog.int8)"; }

std::string_view ledger_fence() {
  return "SELECT CASE WHEN pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on' THEN 'read_only'"
         " ELSE holdfast.fence($1::pg_catalog.uuid, $2::pg_catalog.int8) END";
}

std::string_view ledger_forget() { return "SELECT holdfast.forget($1::pg_catalog.uuid, $2::pg_catalog.int8)"; }

std::string_view ledger_sweep() { return "SELECT holdfast.sweep()"; }

LedgerEntry judge_for_ledger(const TextJudgement& text) {
  LedgerEntry entry;
  if (!text.parsed) return entry;
  const auto leaves_nothing = [](const StatementJudgement& statement) {
    if (statement.control != TransactionControl::none) return true;
    const bool reads = statement.effect == StatementEffect::session || statement.effect == StatementEffect::reads;
    return reads && calls_only_common_reads(statement);
  };
  entry.writes = !std::ranges::all_of(text.statements, leaves_nothing);
  if (text.statements.size() != 1) return entry;
  const auto& statement = text.statements.front();
  entry.control = statement.control;
  entry.can_join = statement.manipulates_data && !statement.outside;
  return entry;
}

}  // namespace holdfast::postgres
