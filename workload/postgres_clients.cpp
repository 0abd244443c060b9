// The clients that read, listen or keep settings, and the threads of them all. The writers have a file of their own.
#include "workload/postgres_clients.hpp"

#include <algorithm>

#include "workload/documented_errors.hpp"

namespace holdfast::workload {

namespace {

class Settled final : public ClientProgram {
 public:
  Settled(ClientContext context, std::string tenant, std::string time_zone)
      : context_(context), tenant_(std::move(tenant)), time_zone_(std::move(time_zone)) {}

  void prepare(PostgresSession& session) override {
    for (const auto& sql : {"SET search_path TO " + tenant_ + ", public", "SET app.tenant = '" + tenant_ + "'",
                            "SET TimeZone TO '" + time_zone_ + "'", std::string("PREPARE add(int, int) AS SELECT $1 + $2")}) {
      until_answered(context_.control, [&] { return session.query("settings", sql); });
    }
    until_answered(context_.control, [&] { return session.prepare("who", "SELECT name || $1 FROM whoami"); });
  }

  void step(PostgresSession& session) override {
    context_.control.rest(between(300, 1'200));
    const auto number = std::to_string(++step_);
    expect(session.query("SHOW search_path", "SHOW search_path"), tenant_ + ", public");
    expect(session.query("current_setting", "SELECT current_setting('app.tenant')"), tenant_);
    expect(session.query("SHOW TimeZone", "SHOW TimeZone"), time_zone_);
    expect(session.query("EXECUTE add", "EXECUTE add(" + number + ", 1)"), std::to_string(step_ + 1));
    // The name stands in a table that each tenant's schema has: only the right search path finds the right one.
    expect(session.execute("prepared who", "who", {number}), tenant_ + number);
  }

 private:
  void expect(const Reply& reply, const std::string& wanted) {
    // An error is counted by its code; the next round asks again.
    if (reply.ok() && reply.value() != wanted) {
      context_.record.wrong_answer("got '" + std::string(reply.value()) + "' where '" + wanted + "' was set");
    }
  }

  ClientContext context_;
  std::string tenant_, time_zone_;
  int step_ = 0;
};

class Listening final : public ClientProgram {
 public:
  explicit Listening(ClientContext context) : context_(context) {}

  void prepare(PostgresSession& session) override {
    until_answered(context_.control, [&] { return session.query("LISTEN", "LISTEN demo_events"); });
  }

  void step(PostgresSession& session) override {
    for (const auto& payload : session.notifications(milliseconds(200))) {
      context_.record.notification();
      // The notifier counts upwards: some may be missed while there is no server, none may come again.
      const auto number = std::stoll("0" + payload);
      if (number <= last_) {
        context_.record.wrong_answer("notification " + payload + " after " + std::to_string(last_));
      }
      last_ = number;
    }
  }

 private:
  ClientContext context_;
  long long last_ = 0;
};

class Reading final : public ClientProgram {
 public:
  Reading(ClientContext context, ReaderProtocol protocol) : context_(context), protocol_(protocol) {}

  void prepare(PostgresSession& session) override {
    if (protocol_ == ReaderProtocol::prepared) {
      until_answered(context_.control, [&] { return session.prepare("article", "SELECT body FROM public.articles WHERE id = $1"); });
    }
  }

  void step(PostgresSession& session) override {
    context_.control.rest(between(2, 15));
    const auto id = std::to_string(between(1, 1'000).count());
    const auto reply = until_answered(context_.control, [&] {
      return protocol_ == ReaderProtocol::prepared
                 ? session.execute("prepared SELECT", "article", {id})
                 : session.query("SELECT", "SELECT body FROM public.articles WHERE id = " + id);
    });
    if (reply.ok() && reply.value() != "article " + id) {
      context_.record.wrong_answer("got '" + std::string(reply.value()) + "' for article " + id);
    }
  }

 private:
  ClientContext context_;
  ReaderProtocol protocol_;
};

}  // namespace

Reply until_answered(Control& control, const std::function<Reply()>& statement) {
  for (;;) {
    auto reply = statement();
    const auto reaction = reply.kind == ReplyKind::error ? reaction_to(reply.code) : Reaction::complain;
    if (reaction == Reaction::complain || control.stopping()) {
      return reply;
    }
    if (reaction == Reaction::wait_then_run_again) {
      control.rest(milliseconds(200));
    }
  }
}

std::unique_ptr<ClientProgram> settled_client(ClientContext context, std::string tenant, std::string time_zone) {
  return std::make_unique<Settled>(context, std::move(tenant), std::move(time_zone));
}

std::unique_ptr<ClientProgram> listening_client(ClientContext context) { return std::make_unique<Listening>(context); }

std::unique_ptr<ClientProgram> reading_client(ClientContext context, ReaderProtocol protocol) {
  return std::make_unique<Reading>(context, protocol);
}

PostgresWorkload::PostgresWorkload(const PostgresTarget& target, History& history) : history_(history) {
  add("settings 1", target, [](auto context) { return settled_client(context, "blue", "Asia/Tokyo"); });
  add("settings 2", target, [](auto context) { return settled_client(context, "green", "Pacific/Auckland"); });
  add("listener", target, [](auto context) { return listening_client(context); });
  add("reader 1", target, [](auto context) { return reading_client(context, ReaderProtocol::simple); });
  add("reader 2", target, [](auto context) { return reading_client(context, ReaderProtocol::prepared); });
  add("writer 1", target, [](auto context) { return writing_client(context, WriterManner::simple_transactions, 1'000'000'000); });
  add("writer 2", target, [](auto context) { return writing_client(context, WriterManner::prepared_transactions, 2'000'000'000); });
  add("writer 3", target, [](auto context) { return writing_client(context, WriterManner::autocommit, 3'000'000'000); });
}

PostgresWorkload::~PostgresWorkload() { end(); }

void PostgresWorkload::add(const std::string& name, const PostgresTarget& target,
                           const std::function<std::unique_ptr<ClientProgram>(ClientContext)>& make) {
  ClientThreads::add(name, [this, target, make](ClientRecord& record) -> Step {
    const std::shared_ptr<ClientProgram> program = make(ClientContext{record, control(), history_});
    const auto session = std::make_shared<PostgresSession>(target, record, control(), [program, &record](PostgresSession& fresh) {
      program->prepare(fresh);
      record.ready();
    });
    return [program, session] {
      if (session->ensure_open()) program->step(*session);
    };
  });
}

}  // namespace holdfast::workload
