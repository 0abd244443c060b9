// PostgreSQL's server, clients and kills.
#include "cli/demo_postgres.hpp"

#include "workload/postgres_binaries.hpp"
#include "workload/postgres_clients.hpp"
#include "workload/postgres_server.hpp"
#include "workload/scratch.hpp"

namespace holdfast::cli {

using std::chrono::milliseconds;

namespace {

constexpr const char* app_user = "demo";
constexpr const char* app_database = "demo";

class PostgresDemo final : public DemoSubject {
 public:
  [[nodiscard]] std::string origin() const override { return "a throw-away PostgreSQL from " + binaries_.string(); }

  [[nodiscard]] std::string start(const std::filesystem::path& directory) override {
    directory_ = directory;
    server_ = std::make_unique<workload::PostgresServer>(binaries_, directory, workload::free_port());
    server_->start();
    app_ = {.port = server_->port(), .user = app_user, .password = workload::random_password(), .database = app_database};
    workload::DirectConnection direct(server_->superuser("postgres"));
    direct.create_login(app_user, app_.password);
    direct.run(std::string("CREATE DATABASE ") + app_database + " OWNER " + app_user);
    workload::DirectConnection owner(server_->superuser(app_database));
    owner.run("ALTER SCHEMA public OWNER TO " + std::string(app_user));
    workload::DirectConnection(app_).run(workload::workload_schema());
    workload::write_private_file(directory / "pgpass", "127.0.0.1:*:*:" + std::string(app_user) + ":" + app_.password + "\n");
    return "PostgreSQL " + direct.rows("SHOW server_version").at(0).at(0);
  }

  [[nodiscard]] DemoUpstream upstream() const override {
    return {.uri = "postgres://" + app_.user + "@127.0.0.1:" + std::to_string(app_.port) + "/" + app_.database + "?sslmode=disable",
            .password = app_.password};
  }

  void start_clients(std::optional<std::uint16_t> proxy_port, workload::History& history) override {
    auto entrance = app_;
    entrance.port = proxy_port.value_or(app_.port);
    clients_ = std::make_unique<workload::PostgresWorkload>(entrance, history);
  }

  [[nodiscard]] workload::ClientThreads& clients() override { return *clients_; }

  void strike(DemoStage& stage, const Pass& pass) override {
    // One in four is a crash of a single backend, which PostgreSQL answers by starting anew by itself.
    if (stage.snapshot().outages() % 4 == 3 && server_->kill_backend(app_user, [&] { stage.struck(Blow::backend); })) {
      stage.up("the server accepts logins again");
      return;
    }
    stage.struck(Blow::postmaster);
    server_->kill_postmaster();
    [[maybe_unused]] const bool undisturbed = pass(workload::between(200, 1'500));
    stage.recovering();
    server_->start();
    stage.up("the server accepts logins again");
  }

  [[nodiscard]] bool is_whole() override { return server_->running(); }
  void revive() override { server_->start(); }

  [[nodiscard]] std::vector<workload::StoredPart> stored_writes() override {
    return workload::stored_writes(server_->superuser(app_database));
  }

  [[nodiscard]] std::string by_hand(std::optional<std::uint16_t> proxy_port) const override {
    return "PGPASSFILE=" + (directory_ / "pgpass").string() + " psql \"host=127.0.0.1 port=" + std::to_string(proxy_port.value_or(app_.port)) +
           " user=" + app_user + " dbname=" + app_database + "\"";
  }
  [[nodiscard]] std::string kill_by_hand() const override {
    return "kill -9 $(head -1 " + (directory_ / "server/data/postmaster.pid").string() + ")";
  }
  [[nodiscard]] std::string heard() const override { return "notifications"; }

 private:
  // In the order in which they are built; the reverse is the order in which they end.
  const std::filesystem::path binaries_ = workload::find_postgres(workload::postgres_search());
  std::filesystem::path directory_;
  workload::PostgresTarget app_;
  std::unique_ptr<workload::PostgresServer> server_;
  std::unique_ptr<workload::PostgresWorkload> clients_;
};

}  // namespace

std::unique_ptr<DemoSubject> postgres_demo() { return std::make_unique<PostgresDemo>(); }

}  // namespace holdfast::cli
