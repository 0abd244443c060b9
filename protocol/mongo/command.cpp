// The traits of each command, by its name and a few of its fields.
#include "protocol/mongo/command.hpp"

#include <algorithm>
#include <array>

#include "protocol/mongo/document.hpp"

namespace holdfast::mongo {

namespace {

struct Named {
  std::string_view name;
  CommandKind kind;
};

constexpr std::array named{
    Named{"hello", CommandKind::hello},
    Named{"isMaster", CommandKind::hello},
    Named{"ismaster", CommandKind::hello},
    Named{"saslStart", CommandKind::authentication},
    Named{"saslContinue", CommandKind::authentication},
    Named{"authenticate", CommandKind::authentication},
    Named{"getnonce", CommandKind::authentication},
    Named{"logout", CommandKind::authentication},
    Named{"whatsmyuri", CommandKind::own},
    Named{"getLastError", CommandKind::refused},
    Named{"getlasterror", CommandKind::refused},
    Named{"getPrevError", CommandKind::refused},
    Named{"getpreverror", CommandKind::refused},
    Named{"resetError", CommandKind::refused},
    Named{"reseterror", CommandKind::refused},
    Named{"find", CommandKind::read},
    Named{"count", CommandKind::read},
    Named{"distinct", CommandKind::read},
    Named{"listCollections", CommandKind::read},
    Named{"listIndexes", CommandKind::read},
    Named{"listDatabases", CommandKind::read},
    Named{"dbStats", CommandKind::read},
    Named{"dbstats", CommandKind::read},
    Named{"collStats", CommandKind::read},
    Named{"collstats", CommandKind::read},
    Named{"ping", CommandKind::read},
    Named{"buildInfo", CommandKind::read},
    Named{"buildinfo", CommandKind::read},
    Named{"serverStatus", CommandKind::read},
    Named{"hostInfo", CommandKind::read},
    Named{"listCommands", CommandKind::read},
    Named{"connectionStatus", CommandKind::read},
    Named{"currentOp", CommandKind::read},
    Named{"usersInfo", CommandKind::read},
    Named{"rolesInfo", CommandKind::read},
    Named{"insert", CommandKind::write},
    Named{"update", CommandKind::write},
    Named{"delete", CommandKind::write},
    Named{"findAndModify", CommandKind::write},
    Named{"findandmodify", CommandKind::write},
    Named{"bulkWrite", CommandKind::write},
    Named{"getMore", CommandKind::get_more},
    Named{"killCursors", CommandKind::kill_cursors},
    Named{"commitTransaction", CommandKind::commit},
    Named{"abortTransaction", CommandKind::abort},
    Named{"endSessions", CommandKind::sessions},
    Named{"refreshSessions", CommandKind::sessions},
    Named{"startSession", CommandKind::sessions},
    Named{"killSessions", CommandKind::sessions},
    Named{"killAllSessions", CommandKind::sessions},
    Named{"killAllSessionsByPattern", CommandKind::sessions},
};

/// Does a pipeline write? One that cannot be read is taken for one that does.
bool pipeline_writes(std::string_view stages) {
  bool writes = false;
  const auto walk = for_each(stages, [&](const Element& stage) {
    if (stage.kind != Kind::document) {
      writes = true;
      return false;
    }
    const auto inner = for_each(stage.bytes, [&](const Element& field) {
      writes = writes || field.key == "$out" || field.key == "$merge";
      return true;
    });
    writes = writes || inner != Walk::complete;
    return !writes;
  });
  return writes || walk == Walk::broken;
}

/// By the first stage, the only one that may say so.
CursorOf cursor_of(std::string_view stages) {
  const auto first = find(stages, "0");
  if (!first || first->kind != Kind::document) return CursorOf::documents;
  if (find(first->bytes, "$changeStream")) return CursorOf::changes;
  return find(first->bytes, "$currentOp") ? CursorOf::operations : CursorOf::documents;
}

/// Servers take no more in one command (maxWriteBatchSize).
constexpr std::size_t statements_max = 100'000;

/// One statement of insert, update, delete or bulkWrite. False: there are too many.
bool read_statement(std::string_view name, std::string_view statement, Command& into) {
  if (into.statements == statements_max) {
    into.multiple = true;
    return false;
  }
  ++into.statements;
  if (name == "insert") return true;
  const bool deletes = name == "delete";
  bool limited = false;
  const auto walk = for_each(statement, [&](const Element& field) {
    if (field.key == "multi" && field.truth()) into.multiple = true;
    if (deletes && field.key == "limit") limited = field.kind == Kind::number && field.integer == 1;
    return true;
  });
  if (walk != Walk::complete || (deletes && !limited)) into.multiple = true;
  return true;
}

void read_statements(const Message& message, Command& into) {
  const auto key = statements_key(into.name);
  if (key.empty()) {  // findAndModify
    into.statements = 1;
    return;
  }
  for (const auto& sequence : message.sequences) {
    if (sequence.name != key) continue;
    for_each_document(sequence, [&](std::string_view document) { static_cast<void>(read_statement(into.name, document, into)); });
  }
  const auto list = find(message.body, key);
  if (!list) return;
  const auto walk = for_each(list->bytes, [&](const Element& statement) {
    return read_statement(into.name, statement.kind == Kind::document ? statement.bytes : std::string_view(), into);
  });
  if (list->kind != Kind::array || walk != Walk::complete) into.multiple = true;
}

void read_field(const Element& field, Command& into) {
  const auto key = field.key;
  if (key == "$db" && field.kind == Kind::text) {
    into.database = field.bytes;
  } else if (key == "lsid" && field.kind == Kind::document) {
    if (const auto id = find(field.bytes, "id"); id && id->kind == Kind::binary) into.session = id->bytes;
  } else if (key == "txnNumber" && field.whole) {
    into.transaction_number = field.integer;
  } else if (key == "autocommit") {
    into.in_transaction = !field.truth();
  } else if (key == "startTransaction") {
    into.starts_transaction = field.truth();
  } else if (key == "writeConcern" && field.kind == Kind::document) {
    const auto w = find(field.bytes, "w");
    if (w && w->kind == Kind::number && w->integer == 0) into.acknowledged = false;
    into.one_member = w && w->kind == Kind::number && w->integer <= 1;
    into.majority = w && w->kind == Kind::text && w->bytes == "majority";
  } else if (key == "maxTimeMS" && field.kind == Kind::number && field.integer > 0) {
    into.time_limit = field.integer;
  } else if (key == "ordered") {
    into.ordered = field.truth();
  } else if (key == "$readPreference" && field.kind == Kind::document) {
    into.preference = read_preference(field.bytes);
  } else if (key == "collection" && into.kind == CommandKind::get_more && field.kind == Kind::text) {
    into.collection = field.bytes;
  } else if (key == "cursors" && into.kind == CommandKind::kill_cursors && field.kind == Kind::array) {
    static_cast<void>(for_each(field.bytes, [&](const Element& id) {
      if (id.whole) into.cursors.push_back(id.integer);
      return true;
    }));
  } else if (key == "op" && into.name == "killOp" && field.whole) {
    into.operation = field.integer;
  } else if ((key == "fields" && into.kind == CommandKind::write) && field.kind == Kind::document) {
    into.projects = field.bytes != empty_document;
  } else if (key == "pipeline" && into.name == "aggregate" && field.kind == Kind::array) {
    if (!pipeline_writes(field.bytes)) into.kind = CommandKind::read;
    into.opens = cursor_of(field.bytes);
  }
}

bool is_answered_here(CommandKind kind) {
  return kind == CommandKind::hello || kind == CommandKind::authentication || kind == CommandKind::own || kind == CommandKind::refused;
}

/// What follows from all fields together.
void conclude(const Message& message, Command& into, Walk walk) {
  into.cut = walk == Walk::stopped;
  if (into.cut && !is_answered_here(into.kind)) {
    // In a transaction that its fields do not show, it would be told as lost with that, or as never committed.
    into.kind = CommandKind::other;
    into.in_transaction = into.starts_transaction = false;
  }
  if (!into.preference.read) walk = Walk::broken;
  if (into.kind == CommandKind::write) read_statements(message, into);
  if (walk != Walk::complete) {
    // Which of its fields a server would believe is not known.
    into.multiple = true;
    if (into.kind == CommandKind::read) into.kind = CommandKind::other;
  }
  into.everywhere = into.name.starts_with("kill") && into.kind == CommandKind::sessions;
  if (into.name == "currentOp") into.opens = CursorOf::operations;
  const bool changes = into.kind == CommandKind::write || into.kind == CommandKind::other;
  into.writes = changes;
}

/// Of these, servers keep no record of writes.
bool takes_numbers(std::string_view database, std::string_view collection) {
  return database != "local" && database != "config" && !collection.starts_with("system.");
}

/// The same for all the namespaces that a bulkWrite names.
bool all_take_numbers(const Message& message) {
  bool all = true;
  const auto look = [&](std::string_view each) {
    const auto name = find(each, "ns");
    const auto text = name && name->kind == Kind::text ? name->bytes : std::string_view();
    const auto dot = std::min(text.find('.'), text.size());
    all = all && takes_numbers(text.substr(0, dot), text.substr(std::min(dot + 1, text.size())));
  };
  for (const auto& sequence : message.sequences) {
    if (sequence.name == "nsInfo") for_each_document(sequence, look);
  }
  if (const auto list = find(message.body, "nsInfo"); list && list->kind == Kind::array) {
    static_cast<void>(for_each(list->bytes, [&](const Element& each) {
      look(each.kind == Kind::document ? each.bytes : empty_document);
      return true;
    }));
  }
  return all;
}

/// A cursor is its session's: what is left of a bulkWrite's answer could not be fetched in the client's.
bool answers_in_batches(const Message& message) {
  const auto cursor = find(message.body, "cursor");
  return cursor && cursor->kind == Kind::document && find(cursor->bytes, "batchSize");
}

}  // namespace

std::string_view statements_key(std::string_view name) {
  if (name == "insert") return "documents";
  if (name == "update") return "updates";
  if (name == "delete") return "deletes";
  return name == "bulkWrite" ? "ops" : "";
}

ReadPreference read_preference(std::string_view document) {
  ReadPreference into;
  std::size_t tags_left = fields_max;
  const auto take = [&] {
    into.read = into.read && tags_left > 0;
    if (into.read) --tags_left;
    return into.read;
  };
  static_cast<void>(for_each(document, [&](const Element& field) {
    if (field.key == "mode" && field.kind == Kind::text) {
      const auto mode = field.bytes;
      into.mode = mode == "primaryPreferred"     ? ReadMode::primary_preferred
                  : mode == "secondary"          ? ReadMode::secondary
                  : mode == "secondaryPreferred" ? ReadMode::secondary_preferred
                  : mode == "nearest"            ? ReadMode::nearest
                                                 : ReadMode::primary;
    } else if (field.key == "maxStalenessSeconds" && field.kind == Kind::number && field.integer != -1) {
      into.max_staleness_seconds = field.integer;
    } else if (field.key == "tags" && field.kind == Kind::array) {
      static_cast<void>(for_each(field.bytes, [&](const Element& set) {
        if (!take()) return false;
        auto& tags = into.tags.emplace_back();
        if (set.kind != Kind::document) return true;
        static_cast<void>(for_each(set.bytes, [&](const Element& tag) {
          if (!take()) return false;
          tags.emplace_back(tag.key, tag.kind == Kind::text ? tag.bytes : tag.raw);  // no member has a tag that is no text
          return true;
        }));
        return true;
      }));
    }
    return true;
  }));
  return into;
}

Command read_command(const Message& message) {
  Command command;
  std::vector<std::string_view> keys;
  const auto walk = for_each(message.body, [&](const Element& field) {
    if (keys.size() == fields_max) return false;
    if (command.name.empty()) {
      command.name = field.key;
      const auto found = std::ranges::find(named, field.key, &Named::name);
      if (found != named.end()) command.kind = found->kind;
      if (field.kind == Kind::text) command.collection = field.bytes;
      if (field.whole) command.cursor = field.integer;
    }
    keys.push_back(field.key);
    read_field(field, command);
    return true;
  });
  conclude(message, command, walk != Walk::stopped && holds_one_twice(std::move(keys)) ? Walk::broken : walk);
  return command;
}

bool may_be_numbered(const Message& message, const Command& command) {
  return command.kind == CommandKind::write && !command.transaction_number && !command.in_transaction && command.acknowledged &&
         (message.flags & flag::more_to_come) == 0 && !command.multiple && command.statements > 0 &&
         takes_numbers(command.database, command.collection) && (command.name != "bulkWrite" || (all_take_numbers(message) && !answers_in_batches(message)));
}

std::string body_of_numbered_write(std::string_view body, std::string_view session, std::int64_t number) {
  Writer id, writer;
  static_cast<void>(for_each(body, [&](const Element& field) {
    if (field.key != "lsid") writer.raw(field.raw);
    return true;
  }));
  constexpr char uuid = 4;
  return writer.document("lsid", id.binary("id", session, uuid).finish()).int64("txnNumber", number).finish();
}

std::string body_of_repeated_commit(std::string_view body) {
  Writer concern;
  bool limited = false;
  if (const auto old = find(body, "writeConcern"); old && old->kind == Kind::document) {
    static_cast<void>(for_each(old->bytes, [&](const Element& field) {
      limited = limited || field.key == "wtimeout";
      if (field.key != "w") concern.raw(field.raw);
      return true;
    }));
  }
  concern.text("w", "majority");
  if (!limited) concern.int32("wtimeout", 10'000);
  Writer writer;
  const auto majority = concern.finish();
  static_cast<void>(for_each(body, [&](const Element& field) {
    if (field.key != "writeConcern") writer.raw(field.raw);
    return true;
  }));
  return writer.document("writeConcern", majority).finish();
}

std::string body_with_time_limit(std::string_view body, std::int64_t milliseconds) {
  Writer writer;
  static_cast<void>(for_each(body, [&](const Element& field) {
    if (field.key == "maxTimeMS") {
      writer.int64("maxTimeMS", milliseconds);
    } else {
      writer.raw(field.raw);
    }
    return true;
  }));
  return writer.finish();
}

std::string body_of_abort(std::string_view statement) {
  Writer writer;
  writer.int32("abortTransaction", 1);
  // Servers take no version of the Stable API here but the one that the transaction was begun with.
  for (const auto key : {"lsid", "txnNumber", "$clusterTime", "apiVersion", "apiStrict", "apiDeprecationErrors"}) {
    if (const auto field = find(statement, key)) writer.raw(field->raw);
  }
  return writer.boolean("autocommit", false).text("$db", "admin").finish();
}

}  // namespace holdfast::mongo
