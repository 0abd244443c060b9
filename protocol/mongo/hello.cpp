// Field by field, as the handshake specification and the captured exchanges have them.
#include "protocol/mongo/hello.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

namespace holdfast::mongo {

namespace {

std::int32_t int32_of(const Element& field) {
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(field.integer, INT32_MIN, INT32_MAX));
}

std::optional<TopologyVersion> read_version(const Element& field) {
  if (field.kind != Kind::document) return std::nullopt;
  const auto process = find(field.bytes, "processId");
  const auto counter = find(field.bytes, "counter");
  if (!process || process->kind != Kind::object_id || !counter || !counter->whole) return std::nullopt;
  TopologyVersion version;
  std::memcpy(version.process.data(), process->bytes.data(), version.process.size());
  version.counter = counter->integer;
  return version;
}

struct Flags {
  bool writable = false, secondary = false, arbiter = false, mongos = false, uninitialised = false, hidden = false;
};

/// Adds the texts of an array.
void read_texts(const Element& field, std::vector<std::string>& into) {
  if (field.kind != Kind::array) return;
  static_cast<void>(for_each(field.bytes, [&](const Element& each) {
    if (each.kind == Kind::text) into.emplace_back(each.bytes);
    return true;
  }));
}

std::string array_of(const std::vector<std::string>& texts) {
  Writer list;
  std::size_t index = 0;
  for (const auto& each : texts) list.text(std::to_string(index++), each);
  return list.finish();
}

void read_member_field(const Element& field, MemberHello& into, Flags& flags) {
  const auto key = field.key;
  const auto text = [&](std::string& to) {
    if (field.kind == Kind::text) to = field.bytes;
  };
  if (key == "ok") into.ok = field.truth();
  if (key == "code") into.code = int32_of(field);
  if (key == "errmsg") text(into.error);
  if (key == "ismaster" || key == "isWritablePrimary") flags.writable = field.truth();
  if (key == "secondary") flags.secondary = field.truth();
  if (key == "arbiterOnly") flags.arbiter = field.truth();
  if (key == "isreplicaset") flags.uninitialised = field.truth();
  if (key == "msg") flags.mongos = field.kind == Kind::text && field.bytes == "isdbgrid";
  if (key == "setName") text(into.set_name);
  if (key == "primary") text(into.primary);
  if (key == "minWireVersion") into.wire_min = int32_of(field);
  if (key == "maxWireVersion") into.wire_max = int32_of(field);
  if (key == "maxBsonObjectSize") into.limits.object_size = int32_of(field);
  if (key == "maxMessageSizeBytes") into.limits.message_size = int32_of(field);
  if (key == "maxWriteBatchSize") into.limits.batch_size = int32_of(field);
  if (key == "logicalSessionTimeoutMinutes" && field.kind == Kind::number) into.session_timeout_minutes = int32_of(field);
  if (key == "setVersion" && field.kind == Kind::number) {
    into.set_version = field.integer;
    into.has_set_version = true;
  }
  if (key == "hidden") flags.hidden = field.truth();
  if (key == "me") text(into.me);
  if (key == "lastWrite" && field.kind == Kind::document) {
    if (const auto date = find(field.bytes, "lastWriteDate"); date && date->kind == Kind::date) into.last_write = date->integer;
  }
  if (key == "tags" && field.kind == Kind::document) {
    static_cast<void>(for_each(field.bytes, [&](const Element& tag) {
      if (tag.kind == Kind::text) into.tags.emplace_back(tag.key, tag.bytes);
      return true;
    }));
  }
  if (key == "electionId" && field.kind == Kind::object_id) into.election_id = field.bytes;
  if (key == "topologyVersion") into.topology_version = read_version(field);
  if (key == "speculativeAuthenticate" && field.kind == Kind::document) into.speculative = field.bytes;
  if (key == "saslSupportedMechs") read_texts(field, into.mechanisms);
  if (key == "compression") read_texts(field, into.compressors);
  if (key == "hosts" || key == "passives") read_texts(field, into.hosts);
  if (key == "arbiters") read_texts(field, into.arbiters);
}

void write_version(Writer& writer, const TopologyVersion& version) {
  Writer inner;
  inner.object_id("processId", version.process).int64("counter", version.counter);
  writer.document("topologyVersion", inner.finish());
}

void read_metadata(std::string_view metadata, HelloRequest& into) {
  into.has_metadata = true;
  if (const auto application = find(metadata, "application"); application && application->kind == Kind::document) {
    const auto name = find(application->bytes, "name");
    if (name && name->kind == Kind::text) into.application = name->bytes;
  }
  if (const auto driver = find(metadata, "driver"); driver && driver->kind == Kind::document) {
    const auto name = find(driver->bytes, "name"), version = find(driver->bytes, "version");
    if (name && name->kind == Kind::text) into.driver = name->bytes;
    if (version && version->kind == Kind::text) into.driver_version = version->bytes;
  }
}

using Version = std::array<int, 3>;
struct SaidVersion {
  Version numbers{};
  bool is_release = true;  // with nothing behind the numbers: 4.4.0b0 comes before 4.4.0
};

std::optional<SaidVersion> read_numbers(std::string_view version) {
  SaidVersion said;
  const auto* at = version.data();
  const auto* const end = at + version.size();
  for (auto& number : said.numbers) {
    const auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc() || number < 0) return std::nullopt;
    at = next;
    if (at == end || *at != '.') break;
    ++at;
  }
  said.is_release = at == end;
  return said;
}

/// The same complaints, in the same order, as the server that the face shows.
void check_awaiting(const Face& face, bool has_version, HelloRequest& into) {
  const bool mongos = face.kind == FaceKind::mongos;
  const auto complain = [&](int of_mongos, int of_mongod, const char* sentence) {
    if (into.error_code != 0) return;
    into.error_code = mongos ? of_mongos : of_mongod;
    into.error = sentence;
  };
  if (has_version && !into.topology_version) {
    into.error_code = 14;
    into.error = "topologyVersion needs a processId (ObjectId) and a counter (long)";
  }
  if (has_version != into.await_milliseconds.has_value()) {
    complain(51760, 31368, "a hello needs both topologyVersion and maxAwaitTimeMS, or neither");
  }
  if (into.await_milliseconds && *into.await_milliseconds < 0) {
    complain(51759, 31373, "maxAwaitTimeMS must be a non-negative integer");
  }
  if (!into.topology_version) return;
  if (into.topology_version->counter < 0) complain(51758, 31372, "topologyVersion must have a non-negative counter");
  if (into.topology_version->process == face.version.process && into.topology_version->counter > face.version.counter) {
    complain(51761, 51764, "the topologyVersion counter of the client is greater than the server's");
  }
}

}  // namespace

MemberHello read_member_hello(std::string_view body) {
  MemberHello hello;
  Flags flags;
  const auto walk = for_each(body, [&](const Element& field) {
    read_member_field(field, hello, flags);
    return true;
  });
  if (walk != Walk::complete) {
    hello.ok = false;
    hello.error = "the answer to hello cannot be read";
  }
  using Type = MemberHello::Type;
  if (flags.mongos) {
    hello.type = Type::mongos;
  } else if (flags.uninitialised) {
    hello.type = Type::uninitialised;
  } else if (hello.set_name.empty()) {
    hello.type = Type::standalone;
  } else if (flags.hidden) {
    hello.type = Type::other;
  } else if (flags.writable) {
    hello.type = Type::primary;
  } else {
    hello.type = flags.secondary ? Type::secondary : flags.arbiter ? Type::arbiter : Type::other;
  }
  return hello;
}

std::string make_first_hello(std::string_view application, std::string_view mechanisms_of,
                             const std::vector<std::string>& compressors) {
  Writer name, driver, os, client, hello;
  name.text("name", application.empty() ? std::string_view("holdfast") : application);
  driver.text("name", "holdfast").text("version", "0.1.0");
  os.text("type", "Linux");
  client.document("application", name.finish()).document("driver", driver.finish()).document("os", os.finish());
  // isMaster, and helloOk with it: a server of any age understands that.
  hello.int32("isMaster", 1).boolean("helloOk", true).document("client", client.finish());
  if (!compressors.empty()) hello.array("compression", array_of(compressors));
  if (!mechanisms_of.empty()) hello.text("saslSupportedMechs", mechanisms_of);
  return hello.text("$db", "admin").finish();
}

std::string make_next_hello() {
  Writer hello;
  return hello.int32("isMaster", 1).boolean("helloOk", true).text("$db", "admin").finish();
}

std::string make_awaited_hello(const TopologyVersion& known, std::chrono::milliseconds limit) {
  Writer hello;
  hello.int32("isMaster", 1).boolean("helloOk", true);
  write_version(hello, known);
  return hello.int64("maxAwaitTimeMS", limit.count()).text("$db", "admin").finish();
}

std::string make_login_hello(std::string_view mechanisms_of, std::string_view speculative) {
  Writer hello;
  hello.int32("isMaster", 1).boolean("helloOk", true);
  if (!mechanisms_of.empty()) hello.text("saslSupportedMechs", mechanisms_of);
  if (!speculative.empty()) hello.document("speculativeAuthenticate", speculative);
  return hello.text("$db", "admin").finish();
}

HelloRequest read_hello_request(std::string_view body, const Face& face) {
  HelloRequest request;
  bool first = true, has_version = false;
  const auto walk = for_each(body, [&](const Element& field) {
    const auto key = field.key;
    if (std::exchange(first, false)) request.legacy = key != "hello";
    if (key == "helloOk") request.hello_ok = field.truth();
    if (key == "backpressure") request.backpressure = field.kind == Kind::text || field.truth();
    if (key == "loadBalanced") request.load_balanced = field.truth();
    if (key == "client" && field.kind == Kind::document) read_metadata(field.bytes, request);
    if (key == "saslSupportedMechs" && field.kind == Kind::text) request.wants_mechanisms_of = field.bytes;
    if (key == "speculativeAuthenticate" && field.kind == Kind::document) request.speculative = field.bytes;
    if (key == "maxAwaitTimeMS" && field.kind == Kind::number) request.await_milliseconds = field.integer;
    if (key == "topologyVersion") {
      has_version = true;
      request.topology_version = read_version(field);
    }
    return true;
  });
  if (walk != Walk::complete) {
    request.error_code = 22;
    request.error = "the hello is no BSON";
    return request;
  }
  check_awaiting(face, has_version, request);
  return request;
}

bool logs_in_again(std::string_view driver, std::string_view version) {
  struct Since {
    std::string_view driver;
    Version version;
  };
  // As their sources have it. Java's has 391 from 5.1 on, but 5.2 to 5.5.0 log in within the session of the command.
  constexpr std::array known{Since{"PyMongo", {4, 4, 0}}, Since{"nodejs", {5, 2, 0}}, Since{"mongo-java-driver", {5, 5, 1}}};
  const auto found = std::ranges::find(known, driver.substr(0, driver.find('|')), &Since::driver);
  const auto said = read_numbers(version.substr(0, version.find('|')));
  return found != known.end() && said && (said->numbers > found->version || (said->numbers == found->version && said->is_release));
}

std::string make_face_hello(const Face& face, const HelloRequest& request, const HelloExtras& extras) {
  Writer writer;
  writer.boolean(request.legacy ? "ismaster" : "isWritablePrimary", true);
  if (face.kind == FaceKind::mongos) writer.text("msg", "isdbgrid");
  if (face.kind == FaceKind::mongos && request.load_balanced) writer.object_id("serviceId", face.version.process);
  write_version(writer, face.version);
  if (request.hello_ok) writer.boolean("helloOk", true);
  writer.int32("maxBsonObjectSize", face.limits.object_size)
      .int32("maxMessageSizeBytes", face.limits.message_size)
      .int32("maxWriteBatchSize", face.limits.batch_size)
      .date("localTime", extras.local_time);
  if (face.session_timeout_minutes) writer.int32("logicalSessionTimeoutMinutes", *face.session_timeout_minutes);
  writer.int32("connectionId", extras.connection_id)
      .int32("minWireVersion", face.wire_min)
      .int32("maxWireVersion", face.wire_max);
  if (face.kind == FaceKind::standalone) writer.boolean("readOnly", false);
  if (!extras.mechanisms.empty()) {
    writer.array("saslSupportedMechs", array_of(extras.mechanisms));
  }
  if (!extras.speculative_answer.empty()) writer.document("speculativeAuthenticate", extras.speculative_answer);
  return writer.real("ok", 1).finish();
}

}  // namespace holdfast::mongo
