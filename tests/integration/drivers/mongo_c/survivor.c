// One MongoDB client of libmongoc that works until its input ends; drivers/README.md says what every survivor does.
#include <mongoc/mongoc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char who[] = "c";
static mongoc_client_t *client;
static mongoc_collection_t *collection;
static int acknowledged, moved, errors;

static bool change(const char *text, int value, mongoc_client_session_t *session, bson_t *reply, bson_error_t *error) {
  bson_t *filter = BCON_NEW("_id", BCON_UTF8(who)), options = BSON_INITIALIZER;
  bson_t *update = text ? BCON_NEW("$inc", "{", text, BCON_INT32(1), "}")
                        : BCON_NEW("$inc", "{", "n", BCON_INT32(1), "}", "$push", "{", "ids", BCON_INT32(value), "}");
  bool done = session == NULL || mongoc_client_session_append(session, &options, error);
  done = done && mongoc_collection_update_one(collection, filter, update, &options, reply, error);
  bson_destroy(filter);
  bson_destroy(update);
  bson_destroy(&options);
  return done;
}

static bool move_one(mongoc_client_session_t *session, void *context, bson_t **reply, bson_error_t *error) {
  (void)context;
  bson_t answer = BSON_INITIALIZER;
  const bool done = change("moved", 0, session, &answer, error);
  *reply = bson_copy(&answer);  // its labels tell whether to run the transaction again
  bson_destroy(&answer);
  return done;
}

static bool step(bson_error_t *error) {
  if (!change(NULL, acknowledged + 1, NULL, NULL, error)) return false;
  acknowledged++;
  mongoc_client_session_t *session = mongoc_client_start_session(client, NULL, error);
  if (session == NULL) return false;
  bson_t reply;
  const bool done = mongoc_client_session_with_transaction(session, move_one, NULL, NULL, &reply, error);
  bson_destroy(&reply);
  mongoc_client_session_destroy(session);
  if (!done) return false;
  moved++;
  bson_t *filter = BCON_NEW("_id", BCON_UTF8(who));
  const bson_t *found = NULL;
  mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, NULL, NULL);
  const bool read = mongoc_cursor_next(cursor, &found) || !mongoc_cursor_error(cursor, error);
  mongoc_cursor_destroy(cursor);
  bson_destroy(filter);
  return read;
}

int main(void) {
  mongoc_init();
  bson_error_t error;
  mongoc_uri_t *uri = mongoc_uri_new_with_error(getenv("URI"), &error);
  if (uri == NULL) return 2;
  mongoc_write_concern_t *majority = mongoc_write_concern_new();
  mongoc_write_concern_set_w(majority, MONGOC_WRITE_CONCERN_W_MAJORITY);
  mongoc_uri_set_write_concern(uri, majority);
  mongoc_write_concern_destroy(majority);
  client = mongoc_client_new_from_uri(uri);
  mongoc_client_set_error_api(client, MONGOC_ERROR_API_VERSION_2);
  collection = mongoc_client_get_collection(client, "test", "survivors");
  bson_t *first = BCON_NEW("_id", BCON_UTF8(who), "n", BCON_INT32(0), "ids", "[", "]", "moved", BCON_INT32(0));
  if (!mongoc_collection_insert_one(collection, first, NULL, NULL, &error)) {
    fprintf(stderr, "%s\n", error.message);
    return 1;
  }
  bson_destroy(first);
  puts("ready");
  fflush(stdout);
  char last_words[sizeof error.message] = "";
  // The program's input has nothing until it ends.
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  while (poll(&input, 1, 10) == 0) {
    if (step(&error)) continue;
    errors++;
    snprintf(last_words, sizeof last_words, "%u", error.code);
  }
  printf("{\"who\": \"%s\", \"acknowledged\": %d, \"moved\": %d, \"errors\": {", who, acknowledged, moved);
  if (errors > 0) printf("\"%s\": %d", last_words, errors);
  puts("}}");
  mongoc_collection_destroy(collection);
  mongoc_client_destroy(client);
  mongoc_uri_destroy(uri);
  mongoc_cleanup();
}
