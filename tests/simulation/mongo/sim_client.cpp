// The program of a simulated driver: what it sends, chosen by chance.
#include "tests/simulation/mongo/sim_client.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "protocol/mongo/frame.hpp"

namespace holdfast::simulation::mongo {

using wire::Writer;
namespace code = wire::code;

SimClient::SimClient(Clock& clock, Ledger& ledger, Options options, Send send)
    : clock_(clock), ledger_(ledger), options_(options), send_(std::move(send)), left_(options.operations) {}

void SimClient::think() {
  clock_.after(clock_.between(0us, clock_.chance(5) ? 2s : 60ms), [this] { act(); });
}

void SimClient::act() {
  if (done_) return;
  if (left_-- <= 0) {
    done_ = true;
    return;
  }
  const auto dice = clock_.pick(100);
  if (dice < 42) return write();
  if (dice < 48) return write_many();
  if (dice < 52) return write_and_tell();
  if (dice < 54) return build_index();
  if (dice < 56) return kill_many({}, 2 + clock_.pick(3));
  if (dice < 57) return kill_session();
  if (dice < 72) return read();
  if (dice < 80 || !options_.of_set) return read_in_batches();
  Transaction transaction;
  for (auto count = 1 + clock_.pick(3); count > 0; --count) transaction.marks.push_back(clock_.chance(75) ? new_mark() : 0);
  transaction.majority = clock_.chance(options_.majority);
  std::vector<int> marks;
  for (const int mark : transaction.marks) {
    if (mark != 0) marks.push_back(mark);
  }
  ledger_.transactions.push_back(marks);
  run_transaction(std::move(transaction));
}

int SimClient::new_mark() {
  ledger_.marks[++ledger_.last_mark] = Belief::unknown;
  return ledger_.last_mark;
}

Writer SimClient::command(std::string_view name, std::string_view collection) {
  history_ += ' ' + std::string(name);
  Writer writer;
  writer.text(name, collection).text("$db", "shop");
  return writer;
}

void SimClient::add_session(Writer& writer, bool number) const {
  writer.document("lsid", Writer().binary("id", session_id(), 4).finish());
  if (number) writer.int64("txnNumber", last_number_);
}

void SimClient::add_concern(Writer& writer, bool majority) {
  if (majority) {
    writer.document("writeConcern", Writer().text("w", "majority").finish());
  } else {
    writer.document("writeConcern", Writer().int32("w", 1).finish());
  }
}

void SimClient::ask(std::string body, Then then, const std::vector<wire::Sequence>& sequences) {
  then_ = std::move(then);
  waiting_since_ = clock_.now();
  asked_ = wire::make_message(++last_request_, 0, 0, body, sequences);
  send_(asked_);
}

void SimClient::tell(std::string body) { send_(wire::make_message(++last_request_, 0, wire::flag::more_to_come, body)); }

void SimClient::leave() {
  done_ = true;
  waiting_since_.reset();
  history_ += " leaves";
}

// ---- writes ----

void SimClient::write() {
  Write one;
  one.numbered = options_.numbers;
  one.majority = clock_.chance(options_.majority);
  one.ordered = clock_.chance(60);
  const auto dice = clock_.pick(10);
  const auto name = dice < 5 ? "insert" : dice < 8 ? "update" : "findAndModify";
  const bool modifies = dice >= 8;
  one.projects = modifies && clock_.chance(50);
  const auto count = modifies || clock_.chance(50) ? 1 : 2 + clock_.pick(5);
  const bool updates = dice >= 5 && !modifies;
  one.inserts = dice < 5;
  for (std::uint64_t i = 0; i < count; ++i) {
    const bool fails = count > 1 && clock_.chance(25), matches_nothing = count > 1 && updates && clock_.chance(25);
    one.statements.push_back({fails ? (clock_.chance(15) && !updates ? unfit_mark : -1) : matches_nothing ? 0 : new_mark()});
  }
  if (one.numbered) ++last_number_;
  // One collection takes no numbers: a driver that gives them would be refused there.
  auto writer = command(name, !one.numbered && clock_.chance(25) ? "c" : "t");
  if (modifies) {
    writer.int32("mark0", one.statements[0][0]);
    if (one.projects) writer.document("fields", Writer().int32("m", 1).finish());
  } else {
    add_statements(one, writer);
  }
  add_session(writer, one.numbered);
  add_concern(writer, one.majority);
  if (clock_.chance(10)) writer.int64("maxTimeMS", static_cast<std::int64_t>(100 + clock_.pick(2000)));
  one.body = writer.finish();
  send_write(std::move(one));
}

/// In the body or behind it, and now and then under numbers of the client's own.
void SimClient::add_statements(Write& write, Writer& writer) {
  Writer list, numbers;
  const auto count = write.statements.size();
  for (std::size_t i = 0; i < count; ++i) {
    history_ += ' ' + std::to_string(write.statements[i][0]);
    const auto statement = Writer().int32("mark0", write.statements[i][0]).finish();
    list.document(std::to_string(i), statement);
    numbers.int32(std::to_string(i), static_cast<std::int32_t>(2 * (count - i)));
    write.documents += statement;
  }
  const auto key = write.inserts ? "documents" : "updates";
  if (clock_.chance(50)) {
    write.sequence = key;
  } else {
    writer.array(key, list.finish());
  }
  const auto dice = clock_.pick(10);
  if (dice == 0 && write.numbered) writer.array("stmtIds", numbers.finish());
  if (dice == 1 && write.numbered) writer.int32("stmtId", 1);
  writer.boolean("ordered", write.ordered);
}

/// updateMany: no txnNumber makes it exact.
void SimClient::write_many() {
  Write many;
  many.multiple = true;
  many.majority = clock_.chance(options_.majority);
  many.statements.push_back({new_mark(), new_mark()});
  auto writer = command("update");
  const auto& marks = many.statements[0];
  const auto statement = Writer().int32("mark0", marks[0]).int32("mark1", marks[1]).boolean("multi", true).finish();
  writer.array("updates", Writer().document("0", statement).finish());
  history_ += "Many " + std::to_string(marks[0]) + ' ' + std::to_string(marks[1]);
  add_session(writer, false);
  add_concern(writer, many.majority);
  many.body = writer.finish();
  send_write(std::move(many));
}

/// w: 0.
void SimClient::write_and_tell() {
  auto writer = command("insert");
  const auto mark = new_mark();
  writer.array("documents", Writer().document("0", Writer().int32("mark0", mark).finish()).finish());
  writer.document("writeConcern", Writer().int32("w", 0).finish());
  history_ += " w0 " + std::to_string(mark);
  tell(writer.finish());
  think();
}

void SimClient::build_index() {
  const auto mark = new_mark();
  auto writer = command("createIndexes");
  ask(writer.int32("mark0", mark).finish(), [this, mark](const Reply& reply) {
    believe(mark, reply.fields.ok ? Belief::one : reply.never_ran() ? Belief::never_ran : Belief::unknown);
    think();
  });
}

void SimClient::send_write(Write write) {
  ++write.tries;
  auto body = write.body;
  const auto documents = write.documents;
  std::vector<wire::Sequence> sequences;
  if (!write.sequence.empty()) sequences.push_back({write.sequence, documents});
  const auto then = [this, write = std::move(write)](const Reply& reply) {
    if (!reply.fields.ok && reply.fields.retryable_label && write.numbered && options_.of_set && write.tries < 2) return send_write(write);
    on_written(write, reply);
    think();
  };
  ask(std::move(body), then, sequences);
}

// ---- reads ----

void SimClient::read() {
  const bool primary = clock_.chance(75);
  auto writer = command("find");
  const int mark = mine_.empty() ? 0 : mine_[mine_.size() - 1 - clock_.pick(std::min<std::size_t>(3, mine_.size()))];
  writer.int32("mark", mark);
  if (!primary) {
    const char* const modes[] = {"secondary", "primaryPreferred", "secondaryPreferred", "nearest"};
    writer.document("$readPreference", Writer().text("mode", modes[clock_.pick(4)]).finish());
  }
  if (clock_.chance(20)) writer.int64("maxTimeMS", static_cast<std::int64_t>(100 + clock_.pick(2000)));
  add_session(writer, false);
  ask(writer.finish(), [this, primary, mark](const Reply& reply) {
    think();
    if (!reply.fields.ok) return;
    ++totals_.reads;
    const auto batch = wire::find(wire::find(reply.body, "cursor")->bytes, "firstBatch");
    const auto seen = wire::find(wire::find(batch->bytes, "0")->bytes, "seen")->integer;
    if (mark != 0 && primary) {
      EXPECT_EQ(seen, 1) << "a read is older than the acknowledged write of mark " << mark;
    }
  });
}

void SimClient::read_in_batches() {
  auto writer = command("find");
  writer.int32("mark", 0).int32("batchSize", 1);
  if (clock_.chance(30)) writer.document("$readPreference", Writer().text("mode", "secondaryPreferred").finish());
  add_session(writer, false);
  ask(writer.finish(), [this](const Reply& reply) {
    if (!reply.fields.ok || !reply.fields.cursor) return think();
    get_more(*reply.fields.cursor, 1, static_cast<int>(1 + clock_.pick(6)));
  });
}

void SimClient::get_more(std::int64_t cursor, int expected, int left) {
  if (left == 0) {
    history_ += " killCursors";
    Writer writer;
    writer.text("killCursors", "t").array("cursors", Writer().int64("0", cursor).finish()).text("$db", "shop");
    return ask(writer.finish(), [this](const Reply&) { think(); });
  }
  clock_.after(clock_.between(0us, 50ms), [this, cursor, expected, left] {
    if (done_) return;
    history_ += " getMore";
    Writer writer;
    writer.int64("getMore", cursor).text("collection", "t").text("$db", "shop");
    add_session(writer, false);
    ask(writer.finish(), [this, cursor, expected, left](const Reply& reply) {
      if (!reply.fields.ok) return think();
      const auto batch = wire::find(wire::find(reply.body, "cursor")->bytes, "nextBatch");
      EXPECT_EQ(wire::find(wire::find(batch->bytes, "0")->bytes, "at")->integer, expected) << "a batch of a cursor is missing";
      reply.fields.cursor.value_or(0) == 0 ? think() : get_more(cursor, expected + 1, left - 1);
    });
  });
}

// ---- transactions ----

void SimClient::run_transaction(Transaction transaction) {
  ++transaction.runs;
  ++last_number_;
  transaction.begun = transaction.token = false;
  transaction.commits = 0;
  run_statement(std::move(transaction), 0);
}

void SimClient::run_statement(Transaction transaction, std::size_t at) {
  if (done_) return;
  if (at == transaction.marks.size()) return end_transaction(std::move(transaction));
  const int mark = transaction.marks[at];
  auto writer = command(mark == 0 ? "find" : "insert");
  if (mark == 0) {
    writer.int32("mark", 0);
  } else {
    history_ += " txn " + std::to_string(last_number_) + ":" + std::to_string(mark);
    writer.array("documents", Writer().document("0", Writer().int32("mark0", mark).finish()).finish());
  }
  add_session(writer, true);
  writer.boolean("autocommit", false);
  if (!std::exchange(transaction.begun, true)) writer.boolean("startTransaction", true);
  ask(writer.finish(), [this, transaction = std::move(transaction), at](const Reply& reply) mutable {
    if (wire::find(reply.body, "recoveryToken")) transaction.token = true;
    EXPECT_NE(reply.fields.code, code::conflicting_operation) << "a transaction is begun twice";
    if (!reply.fields.ok) {
      // Told that it is lost, a driver runs it again as a whole.
      if (reply.fields.transient_label && transaction.runs < 5) return run_transaction(transaction);
      give_up(transaction, Belief::never_ran);
      return think();
    }
    clock_.after(clock_.between(0us, 30ms), [this, transaction, at] { run_statement(transaction, at + 1); });
  });
}

void SimClient::end_transaction(Transaction transaction) {
  if (clock_.chance(85)) return commit(std::move(transaction));
  history_ += " abort";
  Writer writer;
  writer.int32("abortTransaction", 1).text("$db", "admin");
  add_session(writer, true);
  writer.boolean("autocommit", false);
  ask(writer.finish(), [this, transaction = std::move(transaction)](const Reply&) {
    give_up(transaction, Belief::never_ran);
    think();
  });
}

void SimClient::commit(Transaction transaction) {
  // A driver sends a commit again with w: majority.
  if (++transaction.commits > 1) transaction.majority = true;
  history_ += " commit";
  Writer writer;
  writer.int32("commitTransaction", 1).text("$db", "admin");
  add_session(writer, true);
  writer.boolean("autocommit", false);
  add_concern(writer, transaction.majority);
  if (transaction.token) writer.document("recoveryToken", Writer().text("recoveryShardId", "shard").finish());
  ask(writer.finish(), [this, transaction = std::move(transaction)](const Reply& reply) {
    if (reply.fields.ok) {
      ++totals_.transactions;
      give_up(transaction, transaction.majority ? Belief::majority : Belief::one);
    } else if (reply.unknown_commit) {
      if (transaction.commits < 4) return commit(transaction);
      give_up(transaction, Belief::unknown);
    } else if (reply.fields.transient_label && transaction.runs < 5) {
      return run_transaction(transaction);
    } else {
      give_up(transaction, Belief::never_ran);
    }
    think();
  });
}

void SimClient::give_up(const Transaction& transaction, Belief belief) {
  for (const int mark : transaction.marks) {
    if (mark != 0) believe(mark, belief);
  }
}

}  // namespace holdfast::simulation::mongo
