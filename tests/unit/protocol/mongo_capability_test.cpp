// Who is believed to execute a repeated write once.
#include <gtest/gtest.h>

#include "protocol/mongo/capability.hpp"
#include "protocol/mongo/document.hpp"

namespace holdfast::mongo {
namespace {

MemberHello member(std::int32_t wire_max) {
  MemberHello hello;
  hello.ok = true;
  hello.type = MemberHello::Type::primary;
  hello.set_name = "rs";
  hello.wire_max = wire_max;
  hello.session_timeout_minutes = 30;
  if (wire_max >= 9) hello.topology_version.emplace();
  return hello;
}

const Build mongodb{"MongoDB", "7.0.16"};

TEST(MongoCapability, a_set_and_a_mongos_with_sessions_deduplicate_and_a_standalone_server_does_not) {
  EXPECT_EQ(why_not_deduplicating(member(21), mongodb), "");
  EXPECT_EQ(why_not_deduplicating(member(9), std::nullopt), "") << "a topologyVersion is enough where buildInfo is refused";
  auto mongos = member(21);
  mongos.set_name.clear();
  mongos.type = MemberHello::Type::mongos;
  EXPECT_EQ(why_not_deduplicating(mongos, mongodb), "");
  auto standalone = member(21);
  standalone.set_name.clear();
  standalone.type = MemberHello::Type::standalone;
  EXPECT_EQ(why_not_deduplicating(standalone, mongodb), "a standalone server does not know writes again");
}

TEST(MongoCapability, without_sessions_or_with_an_old_wire_version_there_are_no_retryable_writes) {
  auto sessionless = member(21);
  sessionless.session_timeout_minutes.reset();
  EXPECT_EQ(why_not_deduplicating(sessionless, mongodb), "it has no sessions");
  EXPECT_EQ(why_not_deduplicating(member(5), mongodb), "its wire version 5 is older than retryable writes (6)");
}

TEST(MongoCapability, what_only_looks_like_a_mongodb_is_not_believed) {
  EXPECT_EQ(why_not_deduplicating(member(21), Build{"FerretDB", "2.1.0"}), "FerretDB is not known to know writes again");
  auto imitation = member(21);
  imitation.topology_version.reset();
  EXPECT_NE(why_not_deduplicating(imitation, std::nullopt), "");
  EXPECT_NE(why_not_deduplicating(imitation, mongodb), "") << "every MongoDB of that wire version has a topologyVersion";
  EXPECT_EQ(why_not_deduplicating(member(6), mongodb), "");
  EXPECT_NE(why_not_deduplicating(member(6), std::nullopt), "") << "its hello alone shows nothing";
}

TEST(MongoCapability, a_build_is_read_by_what_only_its_product_says) {
  Writer real;
  real.text("version", "7.0.16").text("gitVersion", "abc").real("ok", 1);
  EXPECT_EQ(read_build(real.finish()), mongodb);
  Writer ferret;
  ferret.text("version", "7.0.42").text("gitVersion", "abc").text("ferretdbVersion", "v1.24.0").real("ok", 1);
  EXPECT_EQ(read_build(ferret.finish()), (Build{"FerretDB", "v1.24.0"}));
  Writer package, ferret_two;
  package.text("version", "v2.1.0");
  ferret_two.document("ferretdb", package.finish()).text("version", "7.0.77").real("ok", 1);
  EXPECT_EQ(read_build(ferret_two.finish())->product, "FerretDB");
  Writer quiet;
  quiet.text("version", "5.0.0").real("ok", 1);
  EXPECT_EQ(read_build(quiet.finish())->product, "");
  Writer refusal;
  refusal.real("ok", 0).int32("code", 13);
  EXPECT_FALSE(read_build(refusal.finish()));
  EXPECT_FALSE(read_build("nonsense"));
}

}  // namespace
}  // namespace holdfast::mongo
