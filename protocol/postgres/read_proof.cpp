// The query is written with plain operators and qualified as a whole: the session's search_path must not change its meaning.
#include "protocol/postgres/read_proof.hpp"

#include <array>
#include <utility>

#include "protocol/postgres/session_judge.hpp"

namespace holdfast::postgres {
namespace {

// Volatile functions of PostgreSQL's own that leave nothing behind.
#define HOLDFAST_HARMLESS                                                                                              \
  "ARRAY['random','random_normal','clock_timestamp','timeofday','gen_random_uuid','uuidv4','uuidv7','pg_sleep',"       \
  "'pg_sleep_for','pg_sleep_until']"

constexpr std::string_view plain_query = R"sql(
WITH RECURSIVE relation(oid) AS (
  SELECT pg_catalog.to_regclass(name)::pg_catalog.oid FROM pg_catalog.unnest($4::pg_catalog.text[]) AS name
  UNION
  SELECT below.oid FROM relation JOIN LATERAL (
    SELECT d.refobjid AS oid FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d
      ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid AND d.objid = w.oid
     AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
     WHERE w.ev_class = relation.oid AND w.ev_type = '1'::pg_catalog."char"
    UNION ALL
    SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = relation.oid) AS below ON true),
function AS (
  SELECT p.oid, p.proname::pg_catalog.text AS name, n.nspname::pg_catalog.text AS schema,
         l.lanname::pg_catalog.text = ANY (ARRAY['internal','c']) AS compiled,
         p.provolatile = ANY (ARRAY['i','s']::pg_catalog."char"[]) OR p.proname::pg_catalog.text = ANY (HARMLESS) AS calm,
         p.pronargs AS arguments, p.proargtypes[0] AS argument
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang),
used AS (
  SELECT found[1] AS field, found[2]::pg_catalog.oid AS oid, w.ev_class FROM relation
    JOIN pg_catalog.pg_rewrite w ON w.ev_class = relation.oid AND w.ev_type = '1'::pg_catalog."char"
    CROSS JOIN LATERAL pg_catalog.regexp_matches(w.ev_action::pg_catalog.text,
      ':(funcid|opfuncid|aggfnoid|winfnoid|opno|eqop|sortop|hashfn) ([0-9]+)', 'g') AS found)
SELECT what FROM (
  SELECT 'function ' || called.name AS what
    FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) AS called(schema, name)
   WHERE EXISTS (SELECT FROM function f WHERE f.name = called.name AND (called.schema = '' OR f.schema = called.schema)
     AND NOT (f.schema = 'pg_catalog' AND f.calm)
     AND NOT (f.name = ANY ($6::pg_catalog.text[]) OR (f.schema || '.' || f.name) = ANY ($6::pg_catalog.text[])))
  UNION ALL
  SELECT 'operator ' || o.oprname::pg_catalog.text FROM pg_catalog.pg_operator o JOIN function f
      ON f.oid = o.oprcode::pg_catalog.oid
   WHERE o.oprname::pg_catalog.text = ANY ($3::pg_catalog.text[]) AND f.schema <> 'pg_catalog' AND NOT (f.compiled AND f.calm)
  UNION ALL
  SELECT 'relation ' || c.relname::pg_catalog.text FROM relation JOIN pg_catalog.pg_class c ON c.oid = relation.oid
   WHERE c.relrowsecurity OR c.relkind <> ALL (ARRAY['r','p','m','v','t','S']::pg_catalog."char"[])
  UNION ALL
  SELECT 'function ' || f.name FROM relation JOIN pg_catalog.pg_class c ON c.oid = relation.oid
    JOIN function f ON f.arguments = 1::pg_catalog.int2 AND f.argument = c.reltype
   WHERE NOT (f.compiled AND f.calm)
  UNION ALL
  SELECT 'a function of a view' FROM used LEFT JOIN function f ON f.oid = used.oid
   WHERE used.field = ANY (ARRAY['funcid','opfuncid','aggfnoid','winfnoid','hashfn']) AND used.oid <> 0::pg_catalog.oid
     AND NOT COALESCE(f.schema = 'pg_catalog' AND f.calm, false)
  UNION ALL
  SELECT 'an operator of a view' FROM used LEFT JOIN pg_catalog.pg_operator o ON o.oid = used.oid
    LEFT JOIN function f ON f.oid = o.oprcode::pg_catalog.oid
   WHERE used.field = ANY (ARRAY['opno','eqop','sortop']) AND used.oid <> 0::pg_catalog.oid
     AND NOT COALESCE(f.schema = 'pg_catalog' AND f.calm, false)
  UNION ALL
  SELECT 'a domain of a view' FROM relation JOIN pg_catalog.pg_rewrite w ON w.ev_class = relation.oid
   WHERE w.ev_type = '1'::pg_catalog."char" AND pg_catalog.strpos(w.ev_action::pg_catalog.text, 'COERCETODOMAIN') <> 0
  UNION ALL
  SELECT 'type ' || t.typname::pg_catalog.text FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
   WHERE t.typname::pg_catalog.text = ANY ($5::pg_catalog.text[]) AND t.typtype = 'd'::pg_catalog."char"
     AND n.nspname::pg_catalog.text <> ALL (ARRAY['pg_catalog','information_schema'])
  UNION ALL
  SELECT 'cast by ' || f.name FROM pg_catalog.pg_cast c JOIN function f ON f.oid = c.castfunc WHERE NOT (f.compiled AND f.calm)
     AND f.schema <> 'pg_catalog'
) AS found LIMIT 1)sql";

std::string qualified(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> replacements{{
      {" = ", " OPERATOR(pg_catalog.=) "},
      {" <> ", " OPERATOR(pg_catalog.<>) "},
      {" || ", " OPERATOR(pg_catalog.||) "},
      {"HARMLESS", HOLDFAST_HARMLESS},
  }};
  std::string out(text);
  for (const auto& [from, to] : replacements) {
    for (auto at = out.find(from); at != std::string::npos; at = out.find(from, at + to.size())) out.replace(at, from.size(), to);
  }
  return out;
}

std::string quoted(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out += c;
    out += c;
  }
  return out + '"';
}

}  // namespace

std::string_view read_proof_query() {
  static const std::string query = qualified(plain_query);
  return query;
}

std::vector<std::string> read_proof_parameters(const std::vector<StatementJudgement>& reads,
                                               const std::vector<std::string>& read_only_functions) {
  std::vector<std::string> schemas, functions, operators, relations, types;
  for (const auto& read : reads) {
    for (const auto& function : read.functions) {
      schemas.push_back(function.schema);
      functions.push_back(function.name);
    }
    for (const auto& each : read.operators) operators.push_back(each.name);
    for (const auto& each : read.types) types.push_back(each.name);
    for (const auto& each : read.relations) {
      relations.push_back(each.schema.empty() ? quoted(each.name) : quoted(each.schema) + '.' + quoted(each.name));
    }
  }
  std::vector<std::string> out;
  for (const std::vector<std::string>* list : std::initializer_list<const std::vector<std::string>*>{
           &schemas, &functions, &operators, &relations, &types, &read_only_functions}) {
    out.push_back(SessionJudge::array_literal(*list));
  }
  return out;
}

}  // namespace holdfast::postgres
