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
  EXPECT_EQ(why_not_deduplicating(member(9), mongodb), "");
  EXPECT_EQ(why_not_deduplicating(member(21), Build{"Percona Server for MongoDB", "8.0.19-7"}), "");
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
  EXPECT_EQ(why_not_deduplicating(member(27), Build{"SecantusDB", "0.7.0b3"}), "SecantusDB is not known to know writes again");
  EXPECT_NE(why_not_deduplicating(member(27), Build{"", "8.2.11"}), "") << "its topologyVersion shows nothing";
  EXPECT_NE(why_not_deduplicating(member(27), std::nullopt), "");
  EXPECT_EQ(why_not_by_hello(member(27)), "") << "but it may be one";
  auto imitation = member(21);
  imitation.topology_version.reset();
  EXPECT_NE(why_not_deduplicating(imitation, std::nullopt), "");
  EXPECT_NE(why_not_deduplicating(imitation, mongodb), "") << "every MongoDB of that wire version has a topologyVersion";
  EXPECT_EQ(why_not_deduplicating(member(6), mongodb), "");
  EXPECT_NE(why_not_deduplicating(member(6), std::nullopt), "") << "its hello alone shows nothing";
}

/// The fields that one has whose commit is unknown, that has no JavaScript and no TLS, as a mongos: the fewest that a MongoDB says.
Writer mongodb_build() {
  Writer openssl, build;
  openssl.text("running", "disabled").text("compiled", "disabled");
  build.text("version", "7.0.16").text("gitVersion", "unknown").array("modules", Writer().finish()).text("allocator", "system");
  build.text("javascriptEngine", "none").text("sysInfo", "deprecated").array("versionArray", Writer().finish());
  build.document("openssl", openssl.finish()).int32("bits", 64).boolean("debug", false).int32("maxBsonObjectSize", 16'777'216);
  return build;
}

TEST(MongoCapability, a_mongodb_is_known_by_what_every_one_says_of_how_it_was_built) {
  EXPECT_EQ(read_build(mongodb_build().real("ok", 1).finish()), mongodb);
  EXPECT_EQ(read_build(mongodb_build().text("psmdbVersion", "7.0.16-9").real("ok", 1).finish()),
            (Build{"Percona Server for MongoDB", "7.0.16-9"}));
  const auto whole = mongodb_build().real("ok", 1).finish();
  for (const std::string left_out : {"gitVersion", "modules", "allocator", "javascriptEngine", "versionArray", "openssl"}) {
    Writer rest, other;
    static_cast<void>(for_each(whole, [&](const Element& field) {
      if (field.key != left_out) rest.raw(field.raw);
      if (field.key != left_out) other.raw(field.raw);
      return true;
    }));
    EXPECT_EQ(read_build(rest.finish())->product, "") << left_out;
    EXPECT_EQ(read_build(other.int32(left_out, 1).finish())->product, "") << left_out << " of another type";
  }
  Writer twice;
  for (int i = 0; i < 6; ++i) twice.text("gitVersion", "abc");
  EXPECT_EQ(read_build(twice.text("version", "7.0.16").real("ok", 1).finish())->product, "");
}

TEST(MongoCapability, another_product_is_known_by_its_name_whatever_else_it_says) {
  EXPECT_EQ(read_build(mongodb_build().text("secantusVersion", "0.7.0b3").real("ok", 1).finish()), (Build{"SecantusDB", "0.7.0b3"}));
  EXPECT_EQ(read_build(mongodb_build().text("ferretdbVersion", "v1.24.0").real("ok", 1).finish()), (Build{"FerretDB", "v1.24.0"}));
  EXPECT_EQ(read_build(mongodb_build().text("tokumxVersion", "2.0").real("ok", 1).finish()), (Build{"tokumx", "2.0"}));
  EXPECT_EQ(read_build(mongodb_build().text("no\xFFname Version", "2.0").real("ok", 1).finish()), (Build{"another product", "2.0"}));
  Writer package, ferret_two;
  package.text("version", "v2.1.0");
  ferret_two.document("ferretdb", package.finish()).text("version", "7.0.77").real("ok", 1);
  EXPECT_EQ(read_build(ferret_two.finish())->product, "FerretDB");
}

TEST(MongoCapability, one_that_says_nothing_but_its_version_may_say_more_to_a_user) {
  Writer reserved, quiet, refusal;
  reserved.text("version", "8.2.0").array("versionArray", Writer().finish()).real("ok", 1);
  EXPECT_EQ(read_build(reserved.finish()), (Build{"", "8.2.0", true}));
  quiet.text("version", "5.0.0").int32("bits", 64).real("ok", 1);
  EXPECT_EQ(read_build(quiet.finish()), (Build{"", "5.0.0"}));
  refusal.real("ok", 0).int32("code", 13);
  EXPECT_FALSE(read_build(refusal.finish()));
  EXPECT_FALSE(read_build("nonsense"));
}

}  // namespace
}  // namespace holdfast::mongo
