// The clients that read, count or watch, and the threads of them all. The writers have a file of their own.
#include "workload/mongo_clients.hpp"

#include <map>
#include <stdexcept>

#include "workload/documented_errors.hpp"
#include "workload/mongo_session.hpp"

namespace holdfast::workload {

namespace {

constexpr int articles = 200;
constexpr int batch = 25;  // of a cursor
constexpr WriteId ids_of_a_writer = 1'000'000'000;

/// Waits where the error says that there is no server at present.
void react(Control& control, const MongoReply& reply) {
  if (!reply.ok && (reply.code == "network" || reaction_to(reply.code) == Reaction::wait_then_run_again)) control.rest(milliseconds(200));
}

class Watching final : public MongoProgram {
 public:
  explicit Watching(MongoContext context) : context_(context) {}

  void step() override {
    if (!stream_) open();
    const bson_t* event = nullptr;
    const auto reply = context_.session.run("waiting for changes", [&](MongoError& error) {
      const bson_t* document = nullptr;
      return mongoc_change_stream_next(stream_.get(), &event) || !mongoc_change_stream_error_document(stream_.get(), error.get(), &document);
    });
    if (event != nullptr) {
      take(event);
    } else if (!reply.ok) {
      // The driver resumes by itself where it may; else the stream is opened anew behind what was seen last.
      remember();
      stream_.reset();
      react(context_.control, reply);
    }
  }

 private:
  void open() {
    Document pipeline, options;
    options.add("maxAwaitTimeMS", std::int64_t{100});
    if (place_) bson_append_document(options.get(), "resumeAfter", -1, place_.get());
    collection_ = context_.session.collection("orders");
    stream_.reset(mongoc_collection_watch(collection_.get(), pipeline.get(), options.get()));
  }

  void remember() {
    if (const auto* token = mongoc_change_stream_get_resume_token(stream_.get())) place_ = OwnedBson(bson_copy(token));
  }

  void take(const bson_t* event) {
    if (text_of(event, "operationType") != "insert") return;
    context_.record.notification();
    const auto id = number_of(event, "fullDocument.id"), part = number_of(event, "fullDocument.part");
    auto& last = last_[id / ids_of_a_writer];
    const bool next = (id == last.id && part == last.part + 1) || (id == last.id + 1 && part == 1);
    if (last.id != 0 && !next) {
      context_.record.wrong_answer("change " + std::to_string(id) + "/" + std::to_string(part) + " after " + std::to_string(last.id) + "/" +
                                   std::to_string(last.part));
    }
    last = {.id = id, .part = static_cast<std::uint32_t>(part)};
  }

  MongoContext context_;
  Mongoc<mongoc_collection_t> collection_;
  Mongoc<mongoc_change_stream_t> stream_;
  OwnedBson place_;
  std::map<WriteId, StoredPart> last_;  // by writer
};

class MongoReader final : public MongoProgram {
 public:
  MongoReader(MongoContext context, MongoReading reading)
      : context_(context), reading_(reading), collection_(context.session.collection("articles")) {}

  void step() override {
    context_.control.rest(between(5, 25));
    const auto id = static_cast<std::int64_t>(between(1, articles).count());
    switch (reading_) {
      case MongoReading::documents: return react(context_.control, read(id));
      case MongoReading::aggregates: return react(context_.control, count(id));
      case MongoReading::cursors: return react(context_.control, walk());
    }
  }

 private:
  MongoReply read(std::int64_t id) {
    std::string body;
    auto reply = context_.session.run("find", [&](MongoError& error) {
      Document filter;
      filter.add("_id", id);
      const Mongoc<mongoc_cursor_t> cursor(mongoc_collection_find_with_opts(collection_.get(), filter.get(), nullptr, nullptr));
      const bson_t* document = nullptr;
      if (mongoc_cursor_next(cursor.get(), &document)) body = text_of(document, "body");
      return !mongoc_cursor_error(cursor.get(), error.get());
    });
    expect(reply, body, "article " + std::to_string(id));
    return reply;
  }

  MongoReply count(std::int64_t id) {
    std::int64_t found = -1;
    auto reply = context_.session.run("aggregate", [&](MongoError& error) {
      Document filter, limit;
      filter.add("_id", limit.add("$lte", id));
      found = mongoc_collection_count_documents(collection_.get(), filter.get(), nullptr, nullptr, nullptr, error.get());
      return found >= 0;
    });
    expect(reply, std::to_string(found), std::to_string(id));
    return reply;
  }

  /// All articles by one cursor, batch by batch.
  MongoReply walk() {
    Document filter, options;
    options.add("batchSize", std::int64_t{batch});
    const Mongoc<mongoc_cursor_t> cursor(mongoc_collection_find_with_opts(collection_.get(), filter.get(), options.get(), nullptr));
    for (std::int64_t expected = 1;; ++expected) {
      const bson_t* document = nullptr;
      const auto next = [&](MongoError& error) {
        return mongoc_cursor_next(cursor.get(), &document) || !mongoc_cursor_error(cursor.get(), error.get());
      };
      // Only the first of a batch asks the server.
      MongoError unasked;
      MongoReply reply;
      if (expected % batch == 1) {
        if (expected > 1) context_.control.rest(between(2, 20));
        reply = context_.session.run(expected == 1 ? "find" : "getMore", next);
      } else if (!next(unasked)) {
        reply = context_.session.run("getMore", [&](MongoError& error) {
          error = unasked;
          return false;
        });
      }
      if (!reply.ok || context_.control.stopping()) return reply;
      const auto id = document == nullptr ? articles + 1 : number_of(document, "_id");
      if (id != expected) context_.record.wrong_answer("the cursor gave " + std::to_string(id) + " where " + std::to_string(expected) + " was next");
      if (document == nullptr || id != expected) return reply;
    }
  }

  void expect(const MongoReply& reply, const std::string& got, const std::string& wanted) {
    if (reply.ok && got != wanted) context_.record.wrong_answer("got '" + got + "' where '" + wanted + "' is stored");
  }

  MongoContext context_;
  MongoReading reading_;
  Mongoc<mongoc_collection_t> collection_;
};

class Counting final : public MongoProgram {
 public:
  explicit Counting(MongoContext context) : context_(context), collection_(context.session.collection("counters")) {}

  void step() override {
    context_.control.rest(between(10, 50));
    std::int64_t value = -1;
    const auto reply = context_.session.run("findAndModify", [&](MongoError& error) {
      Document filter, change, increment, answer;
      filter.add("_id", std::string_view("the counter"));
      change.add("$inc", increment.add("n", std::int64_t{1}));
      const std::unique_ptr<mongoc_find_and_modify_opts_t, decltype(&mongoc_find_and_modify_opts_destroy)> options(
          mongoc_find_and_modify_opts_new(), mongoc_find_and_modify_opts_destroy);
      mongoc_find_and_modify_opts_set_update(options.get(), change.get());
      mongoc_find_and_modify_opts_set_flags(options.get(), MONGOC_FIND_AND_MODIFY_RETURN_NEW);
      bson_t stored;
      const bool ok = mongoc_collection_find_and_modify_with_opts(collection_.get(), filter.get(), options.get(), &stored, error.get());
      value = number_of(&stored, "value.n");
      bson_destroy(&stored);
      return ok;
    });
    react(context_.control, reply);
    // Whether an unanswered one was executed only the next answer can tell.
    if (!reply.ok && reaction_to(reply.code) != Reaction::wait_then_run_again) ++unknown_;
    if (!reply.ok) return;
    if (value <= last_ || value > last_ + 1 + unknown_) {
      context_.record.wrong_answer("the counter went from " + std::to_string(last_) + " to " + std::to_string(value));
    }
    last_ = value;
    unknown_ = 0;
  }

 private:
  MongoContext context_;
  Mongoc<mongoc_collection_t> collection_;
  std::int64_t last_ = 0, unknown_ = 0;
};

void must(bool done, const bson_error_t& error, const std::string& what) {
  if (!done) throw std::runtime_error(what + ": " + error.message);
}

}  // namespace

std::unique_ptr<MongoProgram> watching_client(MongoContext context) { return std::make_unique<Watching>(context); }
std::unique_ptr<MongoProgram> counting_client(MongoContext context) { return std::make_unique<Counting>(context); }
std::unique_ptr<MongoProgram> mongo_reading_client(MongoContext context, MongoReading reading) {
  return std::make_unique<MongoReader>(context, reading);
}

void prepare_mongo_workload(const std::string& uri) {
  const auto client = plain_client(uri);
  bson_error_t error{};
  const Mongoc<mongoc_collection_t> stored(mongoc_client_get_collection(client.get(), mongo_database, "articles"));
  for (std::int64_t id = 1; id <= articles; ++id) {
    Document article;
    article.add("_id", id).add("body", "article " + std::to_string(id));
    must(mongoc_collection_insert_one(stored.get(), article.get(), nullptr, nullptr, &error), error, "articles");
  }
  const Mongoc<mongoc_collection_t> counters(mongoc_client_get_collection(client.get(), mongo_database, "counters"));
  Document counter;
  counter.add("_id", std::string_view("the counter")).add("n", std::int64_t{0});
  must(mongoc_collection_insert_one(counters.get(), counter.get(), nullptr, nullptr, &error), error, "counters");
  // Transactions of older servers cannot make a collection.
  Document command;
  command.add("create", std::string_view("orders"));
  must(mongoc_client_write_command_with_opts(client.get(), mongo_database, command.get(), nullptr, nullptr, &error), error, "orders");
}

std::vector<StoredPart> stored_mongo_writes(const std::string& uri) {
  const auto client = plain_client(uri);
  const Mongoc<mongoc_collection_t> orders(mongoc_client_get_collection(client.get(), mongo_database, "orders"));
  Document filter;
  const Mongoc<mongoc_cursor_t> cursor(mongoc_collection_find_with_opts(orders.get(), filter.get(), nullptr, nullptr));
  std::vector<StoredPart> stored;
  for (const bson_t* document = nullptr; mongoc_cursor_next(cursor.get(), &document);) {
    stored.push_back({.id = number_of(document, "id"), .part = static_cast<std::uint32_t>(number_of(document, "part"))});
  }
  bson_error_t error{};
  must(!mongoc_cursor_error(cursor.get(), &error), error, "orders");
  return stored;
}

MongoWorkload::MongoWorkload(const std::string& uri, History& history) {
  const auto start = [&](const std::string& name, std::function<std::unique_ptr<MongoProgram>(MongoContext)> make) {
    add(name, [this, uri, &history, make = std::move(make)](ClientRecord& record) -> Step {
      record.begin("connecting");
      const auto session = std::make_shared<MongoSession>(uri, record, control());
      while (!control().stopping()) {
        Document ping;
        ping.add("ping", std::int64_t{1});
        const auto reply = session->run("ping", [&](MongoError& error) {
          return mongoc_client_command_simple(session->client(), "admin", ping.get(), nullptr, nullptr, error.get());
        });
        if (reply.ok) break;
        control().rest(milliseconds(200));
      }
      const std::shared_ptr<MongoProgram> program = make({*session, record, control(), history});
      record.connected();
      record.ready();
      return [session, program] { program->step(); };
    });
  };
  start("watcher", watching_client);
  start("reader 1", [](auto context) { return mongo_reading_client(context, MongoReading::documents); });
  start("reader 2", [](auto context) { return mongo_reading_client(context, MongoReading::aggregates); });
  start("cursors", [](auto context) { return mongo_reading_client(context, MongoReading::cursors); });
  start("counter", counting_client);
  start("writer 1", [](auto context) { return mongo_writing_client(context, MongoWriting::documents, ids_of_a_writer); });
  start("writer 2", [](auto context) { return mongo_writing_client(context, MongoWriting::batches, 2 * ids_of_a_writer); });
  start("transactions", [](auto context) { return mongo_writing_client(context, MongoWriting::transactions, 3 * ids_of_a_writer); });
}

MongoWorkload::~MongoWorkload() { end(); }

}  // namespace holdfast::workload
