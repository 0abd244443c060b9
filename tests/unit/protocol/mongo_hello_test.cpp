// What members say, what clients ask, and the face that they are shown.
#include <gtest/gtest.h>

#include <string>

#include "protocol/mongo/hello.hpp"

namespace holdfast::mongo {
namespace {

using Type = MemberHello::Type;

const ObjectId process{'p', 'r', 'o', 'c', 'e', 's', 's', '0', '0', '0', '0', '1'};

Writer member() {
  Writer writer;
  writer.int32("minWireVersion", 0).int32("maxWireVersion", 9).int32("logicalSessionTimeoutMinutes", 30).real("ok", 1);
  return writer;
}

Face mongos_face() {
  Face face;
  face.wire_max = 9;
  face.session_timeout_minutes = 30;
  face.version = {process, 3};
  return face;
}

std::string version(const ObjectId& id, std::int64_t counter) {
  Writer writer;
  return writer.object_id("processId", id).int64("counter", counter).finish();
}

int error_of(Writer& writer, FaceKind kind = FaceKind::mongos) {
  auto face = mongos_face();
  face.kind = kind;
  return read_hello_request(writer.finish(), face).error_code;
}

TEST(MongoHello, the_type_of_a_member_follows_its_fields) {
  const auto type = [](Writer writer) { return read_member_hello(writer.finish()).type; };
  EXPECT_EQ(type(member().boolean("ismaster", true)), Type::standalone);
  EXPECT_EQ(type(member().boolean("ismaster", true).text("msg", "isdbgrid")), Type::mongos);
  EXPECT_EQ(type(member().text("setName", "rs").boolean("ismaster", true)), Type::primary);
  EXPECT_EQ(type(member().text("setName", "rs").boolean("isWritablePrimary", true)), Type::primary);
  EXPECT_EQ(type(member().text("setName", "rs").boolean("ismaster", false).boolean("secondary", true)), Type::secondary);
  EXPECT_EQ(type(member().text("setName", "rs").boolean("arbiterOnly", true)), Type::arbiter);
  EXPECT_EQ(type(member().text("setName", "rs").boolean("secondary", false)), Type::other);
  EXPECT_EQ(type(member().boolean("isreplicaset", true)), Type::uninitialised);
}

TEST(MongoHello, an_answer_that_breaks_off_is_no_answer) {
  const auto whole = member().text("setName", "rs").finish();
  EXPECT_TRUE(read_member_hello(whole).ok);
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(read_member_hello(whole.substr(0, size)).ok) << size;
}

TEST(MongoHello, compressors_are_offered_in_order_and_those_that_the_member_takes_are_read) {
  const auto first = make_first_hello("", "", {"zstd", "zlib"});
  std::vector<std::string> offered;
  static_cast<void>(for_each(find(first, "compression")->bytes, [&](const Element& each) {
    offered.emplace_back(each.bytes);
    return true;
  }));
  EXPECT_EQ(offered, (std::vector<std::string>{"zstd", "zlib"}));
  EXPECT_FALSE(find(make_first_hello(""), "compression"));
  auto answer = member();
  answer.texts("compression", {"zlib"});
  EXPECT_EQ(read_member_hello(answer.finish()).compressors, (std::vector<std::string>{"zlib"}));
}

TEST(MongoHello, ours_names_us_once_and_never_as_an_internal_client) {
  const auto first = make_first_hello("shop"), next = make_next_hello();
  EXPECT_EQ(find(find(find(first, "client")->bytes, "application")->bytes, "name")->bytes, "shop");
  EXPECT_FALSE(find(first, "internalClient") || find(next, "internalClient") || find(next, "client"));
}

TEST(MongoHello, the_mongos_face_says_what_a_mongos_says_and_nothing_of_a_set) {
  HelloRequest request;
  request.legacy = true;
  request.hello_ok = true;
  const auto body = make_face_hello(mongos_face(), request, {1234, 7, {}, {}});
  const auto seen = read_member_hello(body);
  EXPECT_EQ(seen.type, Type::mongos);
  EXPECT_TRUE(seen.ok);
  EXPECT_EQ(seen.wire_max, 9);
  EXPECT_EQ(seen.session_timeout_minutes, 30);
  EXPECT_EQ(seen.topology_version, mongos_face().version);
  EXPECT_TRUE(find(body, "ismaster")->truth() && find(body, "helloOk")->truth());
  for (const char* key : {"setName", "hosts", "me", "primary", "secondary", "electionId", "isWritablePrimary", "saslSupportedMechs"}) {
    EXPECT_FALSE(find(body, key)) << key;
  }
}

TEST(MongoHello, who_takes_it_for_a_load_balancer_is_given_the_name_of_a_service_by_the_face_of_a_mongos) {
  Writer writer;
  auto face = mongos_face();
  const auto request = read_hello_request(writer.int32("hello", 1).boolean("loadBalanced", true).finish(), face);
  EXPECT_TRUE(request.load_balanced);
  const auto body = make_face_hello(face, request, {});
  const auto service = find(body, "serviceId");
  ASSERT_TRUE(service && service->kind == Kind::object_id);
  EXPECT_EQ(service->bytes, std::string_view(process.data(), process.size()));
  EXPECT_FALSE(find(make_face_hello(face, {}, {}), "serviceId"));
  face.kind = FaceKind::standalone;
  EXPECT_FALSE(find(make_face_hello(face, request, {}), "serviceId")) << "a standalone is no service";
}

TEST(MongoHello, the_standalone_face_is_a_standalone_and_hello_is_answered_as_hello) {
  auto face = mongos_face();
  face.kind = FaceKind::standalone;
  face.session_timeout_minutes.reset();
  const auto body = make_face_hello(face, {}, {});
  EXPECT_EQ(read_member_hello(body).type, Type::standalone);
  EXPECT_TRUE(find(body, "isWritablePrimary"));
  EXPECT_FALSE(find(body, "ismaster") || find(body, "logicalSessionTimeoutMinutes") || find(body, "helloOk"));
}

TEST(MongoHello, a_request_is_read) {
  Writer application, driver, client, writer;
  application.text("name", "shop");
  driver.text("name", "PyMongo").text("version", "4.20.1");
  client.document("application", application.finish()).document("driver", driver.finish());
  writer.int32("ismaster", 1).boolean("helloOk", true).text("backpressure", "2").document("client", client.finish());
  writer.document("topologyVersion", version(process, 3)).int32("maxAwaitTimeMS", 10'000);
  const auto request = read_hello_request(writer.finish(), mongos_face());
  EXPECT_EQ(request.error_code, 0);
  EXPECT_TRUE(request.legacy && request.hello_ok && request.backpressure && request.has_metadata);
  EXPECT_EQ(request.application, "shop");
  EXPECT_EQ(request.driver, "PyMongo");
  EXPECT_EQ(request.driver_version, "4.20.1");
  EXPECT_EQ(request.topology_version, mongos_face().version);
  EXPECT_EQ(request.await_milliseconds, 10'000);
}

TEST(MongoHello, a_driver_logs_in_again_by_itself_from_the_version_on_that_knows_how) {
  const std::pair<const char*, const char*> able[] = {
      {"PyMongo", "4.4.0"}, {"PyMongo|c", "4.20.1"}, {"PyMongo", "4.10"}, {"PyMongo", "5"}, {"PyMongo|Motor", "4.18.0.dev0|3.7.1"},
      {"nodejs", "5.2.0"}, {"nodejs|mongoose", "6.16.0|8.15.1"}, {"nodejs", "10.0.0-alpha"},
      {"mongo-java-driver|sync", "5.5.1"}, {"mongo-java-driver|reactive-streams|spring-boot", "5.10.0"}};
  for (const auto& [name, version] : able) EXPECT_TRUE(logs_in_again(name, version)) << name << ' ' << version;
  const std::pair<const char*, const char*> unable[] = {
      {"PyMongo", "4.3.3"}, {"PyMongo", "4.4.0b0"}, {"PyMongo|c", "3.13.0|4.4.0"}, {"PyMongo", ""}, {"PyMongo", "unknown"}, {"PyMongo", "4.99999999999"},
      {"nodejs|mongoose", "4.11.0|6.5.2"}, {"nodejs", "5.1.9"}, {"nodejs-core", "6.0.0"}, {"mongo-java-driver|legacy", "5.5.0"},
      {"mongo-java-driver", "4.11.5"}, {"mongo-go-driver", "2.3.0"}, {"mongoose|nodejs", "8.0.0|6.0.0"}, {"", "9.0.0"}};
  for (const auto& [name, version] : unable) EXPECT_FALSE(logs_in_again(name, version)) << name << ' ' << version;
}

TEST(MongoHello, awaiting_is_refused_with_the_codes_of_the_server_that_the_face_shows) {
  const auto version_only = [] { return Writer().int32("hello", 1).document("topologyVersion", version(process, 3)); };
  const auto both = [&](std::int64_t counter, int await) {
    return Writer().int32("hello", 1).document("topologyVersion", version(process, counter)).int32("maxAwaitTimeMS", await);
  };
  auto one = version_only(), same = version_only(), negative = both(3, -1), future = both(4, 1), older = both(2, 1), minus = both(-1, 1);
  EXPECT_EQ(error_of(one), 51760);
  EXPECT_EQ(error_of(same, FaceKind::standalone), 31368);
  EXPECT_EQ(error_of(negative), 51759);
  EXPECT_EQ(error_of(future), 51761);
  EXPECT_EQ(error_of(older), 0);
  EXPECT_EQ(error_of(minus), 51758);
  auto other = Writer();
  other.int32("hello", 1).document("topologyVersion", version(ObjectId{}, 99)).int32("maxAwaitTimeMS", 5);
  EXPECT_EQ(error_of(other), 0) << "another process: answered at once";
  auto wrong = Writer();
  wrong.int32("hello", 1).int32("topologyVersion", 5).int32("maxAwaitTimeMS", 5);
  EXPECT_EQ(error_of(wrong), 14);
}

}  // namespace
}  // namespace holdfast::mongo
