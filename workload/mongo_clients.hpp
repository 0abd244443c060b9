// The eight clients of a MongoDB workload, each as an ordinary application of libmongoc would be written: it keeps one client of
// the driver and handles the documented errors. They judge answers, not histories.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "workload/client_threads.hpp"
#include "workload/history.hpp"

namespace holdfast::workload {

class MongoSession;

/// What every program works with; the referred objects outlive it.
struct MongoContext {
  MongoSession& session;
  ClientRecord& record;
  Control& control;
  History& history;
};

/// What one client does again and again, on its thread.
class MongoProgram {
 public:
  virtual ~MongoProgram() = default;
  virtual void step() = 0;
};

/// Follows the collection of the writers by a change stream: each insert once, those of one writer in their order, no gap.
[[nodiscard]] std::unique_ptr<MongoProgram> watching_client(MongoContext context);
enum class MongoReading { documents, aggregates, cursors };
/// Reads whose answers are known beforehand.
[[nodiscard]] std::unique_ptr<MongoProgram> mongo_reading_client(MongoContext context, MongoReading reading);
/// Counts by findAndModify: only it changes its document, so each answer is one more than the last.
[[nodiscard]] std::unique_ptr<MongoProgram> counting_client(MongoContext context);
enum class MongoWriting { documents, batches, transactions };
/// Writes with unique ids beginning after `first_id`; a transaction each second.
[[nodiscard]] std::unique_ptr<MongoProgram> mongo_writing_client(MongoContext context, MongoWriting writing, WriteId first_id);

/// Makes what the clients use, straight at the servers. Throws std::runtime_error.
void prepare_mongo_workload(const std::string& uri);
/// What the writers' collection holds, straight from the servers. Throws std::runtime_error.
[[nodiscard]] std::vector<StoredPart> stored_mongo_writes(const std::string& uri);

/// The eight clients of the demo, each on a thread of its own with a client of the driver of its own.
class MongoWorkload : public ClientThreads {
 public:
  /// Starts them. `history` outlives this.
  MongoWorkload(const std::string& uri, History& history);
  /// Ends them before what they use goes.
  ~MongoWorkload();
};

}  // namespace holdfast::workload
