// MongoDB's set, clients, kills and stepdowns.
#include "cli/demo_mongo.hpp"

#include "workload/mongo_clients.hpp"
#include "workload/mongo_set.hpp"

namespace holdfast::cli {

using std::chrono::milliseconds;

namespace {

/// A statement that nothing answers must end before the demo gives up on it.
constexpr const char* client_options = "&socketTimeoutMS=60000&appname=holdfast-demo";

class MongoDemo final : public DemoSubject {
 public:
  explicit MongoDemo(const std::string& model) : search_(workload::mongo_search(model)), mongod_(workload::find_mongod(search_)) {}

  [[nodiscard]] std::string origin() const override {
    return mongod_ ? "a throw-away replica set of " + mongod_->string() : "the model replica set " + search_.model + " (no mongod was found)";
  }

  [[nodiscard]] std::string start(const std::filesystem::path& directory) override {
    set_ = workload::make_mongo_set(search_, directory);
    set_->start();
    workload::prepare_mongo_workload(set_->uri());
    return set_->description();
  }

  [[nodiscard]] DemoUpstream upstream() const override { return {.uri = set_->uri(), .password = {}}; }

  void start_clients(std::optional<std::uint16_t> proxy_port, workload::History& history) override {
    clients_ = std::make_unique<workload::MongoWorkload>(entrance(proxy_port) + client_options, history);
  }

  [[nodiscard]] workload::ClientThreads& clients() override { return *clients_; }

  void strike(DemoStage& stage, const Pass& pass) override {
    // Every other one hands over in peace.
    const bool kills = stage.snapshot().outages() % 2 == 0;
    stage.struck(kills ? Blow::primary : Blow::stepdown);
    if (!(kills ? set_->kill_primary() : set_->step_down())) stage.event("there was no primary to strike");
    while (!set_->has_primary() && pass(milliseconds(50))) {
      continue;
    }
    stage.up("there is a primary again");
    // The dead member comes back a little later, and catches up.
    if (pass(workload::between(200, 1'000))) set_->revive();
  }

  [[nodiscard]] bool is_whole() override { return set_->complete(); }
  void revive() override {
    set_->revive();
    [[maybe_unused]] const bool elected = workload::wait_until(milliseconds(20'000), [&] { return set_->has_primary(); });
  }

  [[nodiscard]] std::vector<workload::StoredPart> stored_writes() override { return workload::stored_mongo_writes(set_->uri()); }

  [[nodiscard]] std::string by_hand(std::optional<std::uint16_t> proxy_port) const override { return "mongosh \"" + entrance(proxy_port) + "\""; }
  [[nodiscard]] std::string kill_by_hand() const override { return set_->kill_by_hand(); }
  [[nodiscard]] std::string heard() const override { return "change events"; }

 private:
  [[nodiscard]] std::string entrance(std::optional<std::uint16_t> proxy_port) const {
    return proxy_port ? "mongodb://127.0.0.1:" + std::to_string(*proxy_port) + "/?w=majority" : set_->uri();
  }

  // In the order in which they are built; the reverse is the order in which they end.
  workload::MongoSearch search_;
  std::optional<std::filesystem::path> mongod_;
  std::unique_ptr<workload::MongoSet> set_;
  std::unique_ptr<workload::MongoWorkload> clients_;
};

}  // namespace

std::unique_ptr<DemoSubject> mongo_demo(const std::string& model) { return std::make_unique<MongoDemo>(model); }

}  // namespace holdfast::cli
