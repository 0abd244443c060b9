// The clients that write. Each write has an id of its own and is attempted until its outcome is known; nothing in the database keeps
// a second copy of it out.

#include "workload/documented_errors.hpp"
#include "workload/mongo_clients.hpp"
#include "workload/mongo_session.hpp"

namespace holdfast::workload {

namespace {

enum class Outcome { written, not_written, unknown };

class MongoWriter final : public MongoProgram {
 public:
  MongoWriter(MongoContext context, MongoWriting writing, WriteId first_id)
      : context_(context), writing_(writing), id_(first_id), orders_(context.session.collection("orders")) {}

  void step() override {
    const bool each_second = writing_ == MongoWriting::transactions;
    context_.control.rest(each_second ? milliseconds(1'000) : between(10, 40));
    if (context_.control.stopping()) return;
    const WriteId id = ++id_;
    context_.history.attempt(id, writing_ == MongoWriting::documents ? 1 : 2);
    while (!context_.control.stopping()) {
      auto outcome = attempt(id);
      if (outcome == Outcome::unknown) outcome = look(id);
      if (outcome != Outcome::written) continue;
      context_.history.acknowledge(id);
      context_.record.write_acknowledged();
      return;
    }
  }

 private:
  Outcome attempt(WriteId id) {
    switch (writing_) {
      case MongoWriting::documents: return outcome_of(insert(id));
      case MongoWriting::batches: return outcome_of(insert_both(id));
      case MongoWriting::transactions: return outcome_of(transaction(id));
    }
    return Outcome::not_written;
  }

  Outcome outcome_of(const MongoReply& reply) {
    if (reply.ok) return Outcome::written;
    switch (reaction_to(reply.code)) {
      case Reaction::wait_then_run_again: context_.control.rest(milliseconds(200)); return Outcome::not_written;
      case Reaction::run_again: return Outcome::not_written;
      case Reaction::look_then_run_again:
      case Reaction::complain: break;
    }
    return Outcome::unknown;
  }

  MongoReply insert(WriteId id) {
    return context_.session.run("insert", [&](MongoError& error) {
      Document order;
      order.add("id", id).add("part", std::int64_t{1});
      return mongoc_collection_insert_one(orders_.get(), order.get(), nullptr, nullptr, error.get());
    });
  }

  MongoReply insert_both(WriteId id) {
    return context_.session.run("insert of two", [&](MongoError& error) {
      Document first, second;
      first.add("id", id).add("part", std::int64_t{1});
      second.add("id", id).add("part", std::int64_t{2});
      const bson_t* both[] = {first.get(), second.get()};  // NOLINT: what libmongoc takes
      return mongoc_collection_insert_many(orders_.get(), both, 2, nullptr, nullptr, error.get());
    });
  }

  struct Transaction {
    mongoc_collection_t* orders;
    WriteId id;
  };

  /// What runs again where the transaction was lost.
  static bool insert_within(mongoc_client_session_t* session, void* context, bson_t** reply, bson_error_t* error) {
    const auto& what = *static_cast<Transaction*>(context);
    for (std::int64_t part = 1; part <= 2; ++part) {
      Document order, options;
      order.add("id", what.id).add("part", part);
      if (!mongoc_client_session_append(session, options.get(), error)) return false;
      bson_t answer;
      const bool ok = mongoc_collection_insert_one(what.orders, order.get(), options.get(), &answer, error);
      *reply = bson_copy(&answer);  // its labels decide whether the driver runs this again
      bson_destroy(&answer);
      if (!ok) return false;
      if (part == 1) {
        bson_destroy(*reply);
        *reply = nullptr;
      }
    }
    return true;
  }

  MongoReply transaction(WriteId id) {
    return context_.session.run("transaction", [&](MongoError& error) {
      const Mongoc<mongoc_client_session_t> session(mongoc_client_start_session(context_.session.client(), nullptr, error.get()));
      if (!session) return false;
      Transaction what{orders_.get(), id};
      return mongoc_client_session_with_transaction(session.get(), insert_within, nullptr, &what, nullptr, error.get());
    });
  }

  /// Looks whether the write is there; asks until it is told.
  Outcome look(WriteId id) {
    const std::int64_t parts = writing_ == MongoWriting::documents ? 1 : 2;
    while (!context_.control.stopping()) {
      std::int64_t found = -1;
      const auto reply = context_.session.run("look for id", [&](MongoError& error) {
        Document filter;
        filter.add("id", id);
        found = mongoc_collection_count_documents(orders_.get(), filter.get(), nullptr, nullptr, nullptr, error.get());
        return found >= 0;
      });
      if (reply.ok && found > 0 && found < parts) continue;  // the second half of a batch may still come; without end it is torn
      if (reply.ok) return found == 0 ? Outcome::not_written : Outcome::written;
      context_.control.rest(milliseconds(50));
    }
    return Outcome::not_written;  // The workload ends: the write stays unacknowledged.
  }

  MongoContext context_;
  MongoWriting writing_;
  WriteId id_;
  Mongoc<mongoc_collection_t> orders_;
};

}  // namespace

std::unique_ptr<MongoProgram> mongo_writing_client(MongoContext context, MongoWriting writing, WriteId first_id) {
  return std::make_unique<MongoWriter>(context, writing, first_id);
}

}  // namespace holdfast::workload
