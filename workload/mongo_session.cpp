// Speaks to libmongoc.
#include "workload/mongo_session.hpp"

#include <mutex>
#include <stdexcept>

namespace holdfast::workload {

namespace {

void initialise() {
  static std::once_flag once;
  std::call_once(once, [] {
    mongoc_init();
    mongoc_log_set_handler(nullptr, nullptr);  // what it has to say of servers comes by the callbacks
  });
}

Mongoc<mongoc_uri_t> parsed(const std::string& uri) {
  initialise();
  bson_error_t error;
  Mongoc<mongoc_uri_t> made(mongoc_uri_new_with_error(uri.c_str(), &error));
  if (!made) throw std::runtime_error(uri + ": " + error.message);
  return made;
}

// What the driver tells of its servers, each with the record as its context.

void on_heartbeat_failed(const mongoc_apm_server_heartbeat_failed_t* event) {
  bson_error_t error;
  mongoc_apm_server_heartbeat_failed_get_error(event, &error);
  static_cast<ClientRecord*>(mongoc_apm_server_heartbeat_failed_get_context(event))->noticed_loss("a heartbeat failed: " + std::string(error.message));
}

void on_server_changed(const mongoc_apm_server_changed_t* event) {
  const std::string before = mongoc_server_description_type(mongoc_apm_server_changed_get_previous_description(event));
  const std::string after = mongoc_server_description_type(mongoc_apm_server_changed_get_new_description(event));
  if (after == "Unknown" && before != "Unknown") {
    static_cast<ClientRecord*>(mongoc_apm_server_changed_get_context(event))->noticed_loss("the driver lost its " + before);
  }
}

void on_command_failed(const mongoc_apm_command_failed_t* event) {
  bson_error_t error;
  mongoc_apm_command_failed_get_error(event, &error);
  if (error.domain != MONGOC_ERROR_STREAM) return;
  static_cast<ClientRecord*>(mongoc_apm_command_failed_get_context(event))
      ->noticed_loss(std::string(mongoc_apm_command_failed_get_command_name(event)) + ": " + error.message);
}

bool is_of_server(const bson_error_t& error) {
  return error.domain == MONGOC_ERROR_SERVER || error.domain == MONGOC_ERROR_WRITE_CONCERN || error.domain == MONGOC_ERROR_COLLECTION;
}

}  // namespace

Document& Document::add(std::string_view name, std::int64_t value) {
  bson_append_int64(&bson_, name.data(), static_cast<int>(name.size()), value);
  return *this;
}

Document& Document::add(std::string_view name, std::string_view value) {
  bson_append_utf8(&bson_, name.data(), static_cast<int>(name.size()), value.data(), static_cast<int>(value.size()));
  return *this;
}

Document& Document::add(std::string_view name, const Document& value) {
  bson_append_document(&bson_, name.data(), static_cast<int>(name.size()), &value.bson_);
  return *this;
}

Document& Document::add(std::string_view name, const bson_value_t& value) {
  bson_append_value(&bson_, name.data(), static_cast<int>(name.size()), &value);
  return *this;
}

Document& Document::add_array(std::string_view name, std::initializer_list<const Document*> values) {
  Document array;
  std::int64_t index = 0;
  for (const auto* value : values) array.add(std::to_string(index++), *value);
  bson_append_array(&bson_, name.data(), static_cast<int>(name.size()), &array.bson_);
  return *this;
}

std::int64_t number_of(const bson_t* document, const char* path, std::int64_t otherwise) {
  bson_iter_t root, found;
  const bool there = document != nullptr && bson_iter_init(&root, document) && bson_iter_find_descendant(&root, path, &found);
  return there && BSON_ITER_HOLDS_NUMBER(&found) ? bson_iter_as_int64(&found) : otherwise;
}

std::string text_of(const bson_t* document, const char* path) {
  bson_iter_t root, found;
  const bool there = document != nullptr && bson_iter_init(&root, document) && bson_iter_find_descendant(&root, path, &found);
  return there && BSON_ITER_HOLDS_UTF8(&found) ? bson_iter_utf8(&found, nullptr) : std::string();
}

MongoSession::MongoSession(const std::string& uri, ClientRecord& record, Control& control) : record_(record), control_(control) {
  const auto where = parsed(uri);
  bson_error_t error;
  pool_.reset(mongoc_client_pool_new_with_error(where.get(), &error));
  if (!pool_) throw std::runtime_error(uri + ": " + error.message);
  mongoc_client_pool_set_error_api(pool_.get(), MONGOC_ERROR_API_VERSION_2);
  const std::unique_ptr<mongoc_apm_callbacks_t, decltype(&mongoc_apm_callbacks_destroy)> callbacks(mongoc_apm_callbacks_new(),
                                                                                                 mongoc_apm_callbacks_destroy);
  mongoc_apm_set_server_heartbeat_failed_cb(callbacks.get(), on_heartbeat_failed);
  mongoc_apm_set_server_changed_cb(callbacks.get(), on_server_changed);
  mongoc_apm_set_command_failed_cb(callbacks.get(), on_command_failed);
  mongoc_client_pool_set_apm_callbacks(pool_.get(), callbacks.get(), &record);
  client_ = mongoc_client_pool_pop(pool_.get());
}

MongoSession::~MongoSession() { mongoc_client_pool_push(pool_.get(), client_); }

Mongoc<mongoc_collection_t> MongoSession::collection(const char* name) {
  return Mongoc<mongoc_collection_t>(mongoc_client_get_collection(client_, mongo_database, name));
}

MongoReply MongoSession::run(std::string_view activity, const std::function<bool(MongoError&)>& call) {
  record_.begin(activity);
  MongoError error;
  const bool ok = call(error);
  if (control_.abandoned()) {
    record_.unanswered();
    return {.ok = false, .code = "abandoned"};
  }
  if (ok) {
    record_.answered();
    return {};
  }
  MongoReply reply{.ok = false, .code = is_of_server(error.raw) ? std::to_string(error.raw.code) : "network", .message = error.raw.message};
  record_.error(reply.code, reply.message);
  return reply;
}

Mongoc<mongoc_client_t> plain_client(const std::string& uri) {
  const auto where = parsed(uri);
  Mongoc<mongoc_client_t> made(mongoc_client_new_from_uri(where.get()));
  if (!made) throw std::runtime_error(uri + ": no client could be made");
  mongoc_client_set_error_api(made.get(), MONGOC_ERROR_API_VERSION_2);
  return made;
}

}  // namespace holdfast::workload
