// The clients that write, and the tables they write to. Each write has an id of its own and is attempted until its outcome
// is known; nothing in the database keeps a second copy of it out.
#include <charconv>

#include "workload/documented_errors.hpp"
#include "workload/postgres_clients.hpp"

namespace holdfast::workload {

namespace {

enum class Outcome { committed, not_committed, unknown };

class Writing final : public ClientProgram {
 public:
  Writing(ClientContext context, WriterManner manner, WriteId first_id)
      : context_(context), manner_(manner), id_(first_id), first_id_(first_id) {}

  void prepare(PostgresSession& session) override {
    if (manner_ == WriterManner::prepared_transactions) {
      until_answered(context_.control,
                     [&] { return session.prepare("insert_order", "INSERT INTO public.orders (id, part) VALUES ($1, $2)"); });
    }
  }

  void step(PostgresSession& session) override {
    context_.control.rest(between(5, 25));
    const WriteId id = ++id_;
    context_.history.attempt(id, manner_ == WriterManner::autocommit ? 1 : 2);
    while (!context_.control.stopping()) {
      auto outcome = manner_ == WriterManner::autocommit ? autocommit(session, id) : transaction(session, id);
      if (outcome == Outcome::unknown) {
        outcome = look(session, id);
      }
      if (outcome == Outcome::committed) {
        context_.history.acknowledge(id);
        context_.record.write_acknowledged();
        break;
      }
      if (!session.ensure_open()) {
        return;
      }
    }
    if (manner_ == WriterManner::autocommit && id % 5 == 0) {
      session.query("NOTIFY", "NOTIFY demo_events, '" + std::to_string(id - first_id_) + "'");
    }
  }

 private:
  /// Of a statement that can commit: what its reply says about that.
  Outcome after_commit(const Reply& reply, std::string_view tag_of_success) {
    if (reply.ok()) {
      return reply.tag.starts_with(tag_of_success) ? Outcome::committed : Outcome::not_committed;
    }
    if (reply.kind != ReplyKind::error) {
      return Outcome::unknown;
    }
    switch (reaction_to(reply.code)) {
      case Reaction::run_again:
        return Outcome::not_committed;
      case Reaction::wait_then_run_again:
        context_.control.rest(milliseconds(200));
        return Outcome::not_committed;
      case Reaction::look_then_run_again:
      case Reaction::complain:
        break;
    }
    return Outcome::unknown;
  }

  Outcome autocommit(PostgresSession& session, WriteId id) {
    const auto number = std::to_string(id);
    return after_commit(id % 2 == 0 ? session.query("INSERT", "INSERT INTO public.orders (id, part) VALUES ($1, 1)", {number})
                                    : session.query("INSERT", "INSERT INTO public.orders (id, part) VALUES (" + number + ", 1)"),
                        "INSERT 0 1");
  }

  Outcome transaction(PostgresSession& session, WriteId id) {
    for (const auto statement : {&Writing::begin, &Writing::insert_first, &Writing::insert_second}) {
      const auto reply = (this->*statement)(session, id);
      if (!reply.ok()) {
        if (reply.code == "57P03") {
          context_.control.rest(milliseconds(200));
        }
        roll_back(session);
        // Nothing that could commit had been sent; only the code that says otherwise is believed.
        return reply.code == "08007" ? Outcome::unknown : Outcome::not_committed;
      }
    }
    const auto outcome = after_commit(session.query("COMMIT", "COMMIT"), "COMMIT");
    roll_back(session);
    return outcome;
  }

  Reply begin(PostgresSession& session, WriteId /*id*/) { return session.query("BEGIN", "BEGIN"); }
  Reply insert_first(PostgresSession& session, WriteId id) { return insert(session, id, "1"); }
  Reply insert_second(PostgresSession& session, WriteId id) { return insert(session, id, "2"); }

  Reply insert(PostgresSession& session, WriteId id, const std::string& part) {
    const auto number = std::to_string(id);
    if (manner_ == WriterManner::prepared_transactions) {
      return session.execute("INSERT in transaction", "insert_order", {number, part});
    }
    return session.query("INSERT in transaction", "INSERT INTO public.orders (id, part) VALUES (" + number + ", " + part + ")");
  }

  /// Leaves whatever transaction the session is still in.
  void roll_back(PostgresSession& session) {
    while (session.in_transaction() && !context_.control.stopping()) {
      if (!session.query("ROLLBACK", "ROLLBACK").ok()) {
        context_.control.rest(milliseconds(50));
      }
    }
  }

  /// Looks whether the write is there; asks until it is told.
  Outcome look(PostgresSession& session, WriteId id) {
    while (session.ensure_open()) {
      const auto reply = session.query("look for id", "SELECT count(*) FROM public.orders WHERE id = $1", {std::to_string(id)});
      if (reply.ok()) {
        return reply.value() == "0" ? Outcome::not_committed : Outcome::committed;
      }
      context_.control.rest(milliseconds(50));
      if (context_.control.stopping()) {
        break;
      }
    }
    return Outcome::not_committed;  // The workload ends: the write stays unacknowledged.
  }

  ClientContext context_;
  WriterManner manner_;
  WriteId id_, first_id_;
};

}  // namespace

std::unique_ptr<ClientProgram> writing_client(ClientContext context, WriterManner manner, WriteId first_id) {
  return std::make_unique<Writing>(context, manner, first_id);
}

std::string workload_schema() {
  return "CREATE TABLE public.orders (id bigint NOT NULL, part int NOT NULL);"
         "CREATE INDEX orders_id ON public.orders (id);"  // not unique: a second copy must be able to get in and be found
         "CREATE TABLE public.articles (id int PRIMARY KEY, body text NOT NULL);"
         "INSERT INTO public.articles SELECT n, 'article ' || n FROM generate_series(1, 1000) n;"
         "CREATE SCHEMA blue; CREATE TABLE blue.whoami (name text); INSERT INTO blue.whoami VALUES ('blue');"
         "CREATE SCHEMA green; CREATE TABLE green.whoami (name text); INSERT INTO green.whoami VALUES ('green');";
}

std::vector<StoredPart> stored_writes(const PostgresTarget& target) {
  std::vector<StoredPart> stored;
  DirectConnection direct(target);
  for (const auto& row : direct.rows("SELECT id, part FROM public.orders")) {
    auto& part = stored.emplace_back();
    std::from_chars(row[0].data(), row[0].data() + row[0].size(), part.id);
    std::from_chars(row[1].data(), row[1].data() + row[1].size(), part.part);
  }
  return stored;
}

}  // namespace holdfast::workload
