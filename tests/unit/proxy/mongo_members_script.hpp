// Members of a set and what they say, in a line each.
#pragma once

#include <string>
#include <utility>

#include "proxy/mongo/members.hpp"

namespace holdfast::proxy::mongo {

using Type = wire::MemberHello::Type;

inline config::Connection config_with(std::size_t hosts, std::string set = "rs", config::MongoFace face = config::MongoFace::automatic) {
  config::Connection config;
  for (std::size_t i = 0; i < hosts; ++i) config.mongo.hosts.push_back({"h" + std::to_string(i), 27017});
  config.mongo.replica_set = std::move(set);
  config.face = face;
  return config;
}

inline wire::MemberHello hello(Type type, std::int32_t wire_max = 9, std::string set = "rs") {
  wire::MemberHello made;
  made.ok = true;
  made.type = type;
  if (type != Type::standalone) made.set_name = std::move(set);
  made.wire_max = wire_max;
  made.session_timeout_minutes = 30;
  made.topology_version.emplace();
  return made;
}

/// A process that a hello of this file's is of, and another one.
inline const Members::Process first_process = wire::ObjectId{}, other_process = wire::ObjectId{'x'};

/// A user has asked it what it is.
inline void note_product(Members& members, std::size_t member, std::string product, const Members::Process& process = first_process) {
  members.note_build(member, process, Members::Asker::user, wire::Build{std::move(product), "7.0.16"});
}

/// Elected with this id.
inline wire::MemberHello primary_of(std::string election) {
  auto made = hello(Type::primary);
  made.election_id = std::move(election);
  made.set_version = 1;
  made.has_set_version = true;
  return made;
}

}  // namespace holdfast::proxy::mongo
