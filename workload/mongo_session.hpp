// A client of libmongoc that a workload keeps for the whole run: every wait is recorded, and whatever the driver notices of a
// lost server. Runs nothing again by itself; what the driver repeats is the driver's.
#pragma once

#include <mongoc/mongoc.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "workload/control.hpp"
#include "workload/statistics.hpp"

namespace holdfast::workload {

/// A BSON document that is built field by field.
class Document {
 public:
  Document() { bson_init(&bson_); }
  ~Document() { bson_destroy(&bson_); }
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

  Document& add(std::string_view name, std::int64_t value);
  Document& add(std::string_view name, std::string_view value);
  Document& add(std::string_view name, const Document& value);
  Document& add_array(std::string_view name, std::initializer_list<const Document*> values);
  Document& add(std::string_view name, const bson_value_t& value);
  [[nodiscard]] const bson_t* get() const { return &bson_; }
  [[nodiscard]] bson_t* get() { return &bson_; }

 private:
  bson_t bson_{};
};

/// A number of a document, of whatever width; `otherwise` where there is none.
[[nodiscard]] std::int64_t number_of(const bson_t* document, const char* path, std::int64_t otherwise = -1);
[[nodiscard]] std::string text_of(const bson_t* document, const char* path);

/// Deletes what libmongoc made.
struct MongocDelete {
  void operator()(mongoc_client_pool_t* one) const { mongoc_client_pool_destroy(one); }
  void operator()(mongoc_collection_t* one) const { mongoc_collection_destroy(one); }
  void operator()(mongoc_cursor_t* one) const { mongoc_cursor_destroy(one); }
  void operator()(mongoc_change_stream_t* one) const { mongoc_change_stream_destroy(one); }
  void operator()(mongoc_client_session_t* one) const { mongoc_client_session_destroy(one); }
  void operator()(mongoc_uri_t* one) const { mongoc_uri_destroy(one); }
  void operator()(mongoc_client_t* one) const { mongoc_client_destroy(one); }
};
template <typename T>
using Mongoc = std::unique_ptr<T, MongocDelete>;

/// A document of the heap. (No std::unique_ptr: bson_t and bson_error_t carry an alignment that template arguments drop.)
class OwnedBson {
 public:
  explicit OwnedBson(bson_t* one = nullptr) : bson_(one) {}
  ~OwnedBson() {
    if (bson_ != nullptr) bson_destroy(bson_);
  }
  OwnedBson(OwnedBson&& other) noexcept : bson_(std::exchange(other.bson_, nullptr)) {}
  OwnedBson& operator=(OwnedBson&& other) noexcept {
    std::swap(bson_, other.bson_);
    return *this;
  }
  [[nodiscard]] const bson_t* get() const { return bson_; }
  explicit operator bool() const { return bson_ != nullptr; }

 private:
  bson_t* bson_;
};

/// Where a call of the driver says what went wrong.
struct MongoError {
  bson_error_t raw{};
  bson_error_t* get() { return &raw; }
};

/// What came of one call of the driver. `code` is the server's; "network" where the driver could not talk to one.
struct MongoReply {
  bool ok = true;
  std::string code{}, message{};
};

/// The database that the workload's clients use.
inline constexpr const char* mongo_database = "demo";

/// Used by one thread. The driver's monitor has a thread of its own and writes to the record too.
class MongoSession {
 public:
  /// The references outlive this. Throws std::runtime_error where `uri` cannot be read.
  MongoSession(const std::string& uri, ClientRecord& record, Control& control);
  ~MongoSession();
  MongoSession(const MongoSession&) = delete;
  MongoSession& operator=(const MongoSession&) = delete;

  [[nodiscard]] Mongoc<mongoc_collection_t> collection(const char* name);
  [[nodiscard]] mongoc_client_t* client() { return client_; }
  /// `activity` is what the live view shows; `call` returns whether it went well, or fills in the error.
  MongoReply run(std::string_view activity, const std::function<bool(MongoError&)>& call);

 private:
  Mongoc<mongoc_client_pool_t> pool_;
  mongoc_client_t* client_ = nullptr;
  ClientRecord& record_;
  Control& control_;
};

/// A plain client without a record, for set-up and checks; `uri` may name several members.
[[nodiscard]] Mongoc<mongoc_client_t> plain_client(const std::string& uri);

}  // namespace holdfast::workload
