// Client and HttpTransport against real Consul agents, and against servers that are none.
#include "consul/client.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace rcb::consul {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// Longest wait for anything that should happen.
constexpr auto kDeadline = 20s;

/// An event loop that a test runs until something is true. Closing it proves that every handle was closed.
class Loop {
 public:
  Loop() {
    REQUIRE(uv_loop_init(&loop_) == 0);
    uv_timer_init(&loop_, &tick_);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop() {
    uv_close(reinterpret_cast<uv_handle_t*>(&tick_), nullptr);
    uv_run(&loop_, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop_) == 0);
  }

  template <typename Condition>
  bool RunUntil(Condition condition, std::chrono::milliseconds longest = kDeadline) {
    uv_timer_start(
        &tick_, [](uv_timer_t*) {}, 5, 5);
    const auto end = Clock::now() + longest;
    while (!condition() && Clock::now() < end) uv_run(&loop_, UV_RUN_ONCE);
    uv_timer_stop(&tick_);
    return condition();
  }

  /// Makes a call and runs until its handler was called.
  template <typename T, typename Call>
  Result<T> Await(Call call) {
    std::optional<Result<T>> answer;
    call([&answer](Result<T> result) { answer = std::move(result); });
    CHECK_FALSE(answer);  // Never before the call returns.
    REQUIRE(RunUntil([&answer] { return answer.has_value(); }));
    return *answer;
  }

  uv_loop_t* get() { return &loop_; }

 private:
  uv_loop_t loop_{};
  uv_timer_t tick_{};
};

bool IsFree(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool is_free = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return is_free;
}

/// The first of `count` free loopback ports in a row.
int PickPorts(int count) {
  static std::minstd_rand random(std::random_device{}());
  while (true) {
    const int first = std::uniform_int_distribution<int>(22000, 22980)(random);
    int free = 0;
    while (free < count && IsFree(first + free)) ++free;
    if (free == count) return first;
  }
}

std::string FindConsul() {
  const char* from_environment = std::getenv("PATH");
  std::string path = from_environment != nullptr ? from_environment : "";
  path += ":" RCB_DEPS "/usr/bin";
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find(':', at), path.size());
    std::string candidate = path.substr(at, end - at) + "/consul";
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    at = end + 1;
  }
  FAIL("consul was not found: run scripts/install-deps");
  return {};
}

/// A folder of its own, removed at the end.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "rcb-consul-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

pid_t Spawn(const std::vector<std::string>& arguments, const TempDir& dir) {
  std::vector<char*> raw;
  raw.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) raw.push_back(const_cast<char*>(argument.c_str()));
  raw.push_back(nullptr);
  const std::string log = dir / "consul.log";
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // Nothing stays when the test crashes.
    const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(fd, STDOUT_FILENO);
    ::dup2(fd, STDERR_FILENO);
    if (::chdir(dir.path().c_str()) == 0) ::execv(raw[0], raw.data());
    ::_exit(127);
  }
  REQUIRE(pid > 0);
  return pid;
}

void RunTool(const std::vector<std::string>& arguments, const TempDir& dir) {
  int status = 0;
  ::waitpid(Spawn(arguments, dir), &status, 0);
  REQUIRE(status == 0);
}

/// A Consul server with its state in memory, on private ports. `settings` are further members of its JSON
/// configuration.
class ConsulServer {
 public:
  explicit ConsulServer(std::string settings = "", std::string token = "")
      : settings_(std::move(settings)), token_(std::move(token)), first_port_(PickPorts(6)) {
    Start();
  }
  ConsulServer(const ConsulServer&) = delete;
  ConsulServer& operator=(const ConsulServer&) = delete;
  ~ConsulServer() { Kill(); }

  void Start() {
    const auto port = [this](int offset) { return std::to_string(first_port_ + offset); };
    std::ofstream(dir_ / "consul.json") << R"({"node_name":"n1","bind_addr":"127.0.0.1","ports":{"http":)" << port(0)
                                        << R"(,"dns":)" << port(1) << R"(,"server":)" << port(2) << R"(,"serf_lan":)"
                                        << port(3) << R"(,"serf_wan":)" << port(4) << R"(,"https":)"
                                        << (settings_.find("cert_file") != std::string::npos ? port(5) : "-1")
                                        << R"(,"grpc":-1})" << settings_ << "}";
    pid_ = Spawn({FindConsul(), "agent", "-dev", "-config-file", dir_ / "consul.json"}, dir_);
  }
  void Kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  /// Waits until the server leads and knows its own node, without which nothing can be registered.
  void WaitUntilReady(Loop& loop) {
    auto client = Client::Create(loop.get(), {.url = url(), .token = token_});
    REQUIRE(client);
    const auto end = Clock::now() + kDeadline;
    while (Clock::now() < end) {
      const auto entries = loop.Await<std::vector<ServiceEntry>>(
          [&](auto handler) { (*client)->HealthService("consul", std::move(handler)); });
      if (entries && entries->size() == 1) return;
      loop.RunUntil([] { return false; }, 20ms);
    }
    FAIL("Consul did not come up");
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(first_port_); }
  std::string https_url() const { return "https://127.0.0.1:" + std::to_string(first_port_ + 5); }
  const TempDir& dir() const { return dir_; }

 private:
  TempDir dir_;
  std::string settings_;
  std::string token_;
  int first_port_;
  pid_t pid_ = -1;
};

/// One server for all tests that leave it as they found it. It also listens on a unix socket.
ConsulServer& SharedServer(Loop& loop) {
  static const TempDir socket_dir;
  static ConsulServer server(R"(,"addresses":{"http":"127.0.0.1 unix://)" + (socket_dir / "http.sock") + R"("})");
  server.WaitUntilReady(loop);
  return server;
}

std::unique_ptr<Client> Connect(Loop& loop, const HttpTransport::Options& options) {
  auto client = Client::Create(loop.get(), options);
  REQUIRE(client);
  return std::move(*client);
}

/// Listens on a loopback port and answers every connection's first bytes with a fixed text.
class FakeServer {
 public:
  FakeServer(Loop& loop, std::string answer, bool closes = true)
      : answer_(std::move(answer)), closes_(closes), port_(PickPorts(1)) {
    uv_tcp_init(loop.get(), &listener_);
    listener_.data = this;
    sockaddr_in address{};
    uv_ip4_addr("127.0.0.1", port_, &address);
    REQUIRE(uv_tcp_bind(&listener_, reinterpret_cast<sockaddr*>(&address), 0) == 0);
    REQUIRE(uv_listen(reinterpret_cast<uv_stream_t*>(&listener_), 16, &FakeServer::OnConnection) == 0);
  }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  /// Ends the listener and every connection; the loop then runs until libuv has let go of them.
  void Stop(Loop& loop) {
    for (Peer* peer : peers_) Close(peer);
    bool is_closed = false;
    listener_.data = &is_closed;
    uv_close(reinterpret_cast<uv_handle_t*>(&listener_),
             [](uv_handle_t* handle) { *static_cast<bool*>(handle->data) = true; });
    REQUIRE(loop.RunUntil([&is_closed] { return is_closed; }));
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  int requests() const { return requests_; }
  const std::string& last_request() const { return last_request_; }

 private:
  struct Peer {
    uv_tcp_t tcp{};
    uv_write_t write{};
    FakeServer* server = nullptr;
    char buffer[4096] = {};
  };

  static void OnConnection(uv_stream_t* listener, int) {
    auto* peer = new Peer;
    peer->server = static_cast<FakeServer*>(listener->data);
    uv_tcp_init(listener->loop, &peer->tcp);
    peer->tcp.data = peer;
    uv_accept(listener, reinterpret_cast<uv_stream_t*>(&peer->tcp));
    peer->server->peers_.push_back(peer);
    uv_read_start(
        reinterpret_cast<uv_stream_t*>(&peer->tcp),
        [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
          auto* self = static_cast<Peer*>(handle->data);
          *buffer = uv_buf_init(self->buffer, sizeof self->buffer);
        },
        &FakeServer::OnRead);
  }

  static void OnRead(uv_stream_t* stream, ssize_t bytes, const uv_buf_t*) {
    auto* peer = static_cast<Peer*>(stream->data);
    FakeServer* server = peer->server;
    if (bytes < 0) return server->Close(peer);
    ++server->requests_;
    server->last_request_.assign(peer->buffer, static_cast<std::size_t>(bytes));
    uv_buf_t buffer = uv_buf_init(server->answer_.data(), static_cast<unsigned>(server->answer_.size()));
    peer->write.data = peer;
    uv_write(&peer->write, stream, &buffer, 1, [](uv_write_t* write, int) {
      auto* self = static_cast<Peer*>(write->data);
      if (self->server->closes_) self->server->Close(self);
    });
  }

  void Close(Peer* peer) {
    if (uv_is_closing(reinterpret_cast<uv_handle_t*>(&peer->tcp)) != 0) return;
    uv_close(reinterpret_cast<uv_handle_t*>(&peer->tcp), [](uv_handle_t* handle) {
      std::unique_ptr<Peer>(static_cast<Peer*>(handle->data))->server->Forget(handle);
    });
  }
  void Forget(const uv_handle_t* handle) {
    peers_.erase(std::find(peers_.begin(), peers_.end(), static_cast<Peer*>(handle->data)));
  }

  uv_tcp_t listener_{};
  std::string answer_;
  bool closes_;
  int port_;
  int requests_ = 0;
  std::string last_request_;
  std::vector<Peer*> peers_;
};

std::string HttpOk(const std::string& headers, const std::string& body) {
  return "HTTP/1.1 200 OK\r\n" + headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

ServiceRegistration Registration(const std::string& id, const std::string& tag) {
  return {.id = id,
          .name = "redis",
          .tags = {tag},
          .address = "127.0.0.1",
          .port = 7001,
          .meta = {{"role", tag}},
          .check = {.id = id + ":role",
                    .name = "Redis role",
                    .notes = "fed by a test",
                    .ttl = 10s,
                    .status = CheckStatus::kPassing,
                    .deregister_critical_after = 24h}};
}

Result<void> Register(Loop& loop, Client& client, const ServiceRegistration& registration) {
  return loop.Await<void>([&](auto handler) { client.RegisterService(registration, std::move(handler)); });
}
Result<void> Deregister(Loop& loop, Client& client, const std::string& id) {
  return loop.Await<void>([&](auto handler) { client.DeregisterService(id, std::move(handler)); });
}
Result<void> UpdateTtl(Loop& loop, Client& client, const std::string& id, CheckStatus status, const std::string& text) {
  return loop.Await<void>([&](auto handler) { client.UpdateTtl(id, status, text, std::move(handler)); });
}
Result<KvPair> KvGet(Loop& loop, Client& client, const std::string& key) {
  return loop.Await<KvPair>([&](auto handler) { client.KvGet(key, std::move(handler)); });
}
Result<void> KvCas(Loop& loop, Client& client, const std::string& key, const std::string& value, std::uint64_t index) {
  return loop.Await<void>([&](auto handler) { client.KvCas(key, value, index, std::move(handler)); });
}
Result<std::uint64_t> Txn(Loop& loop, Client& client, const std::vector<TxnOperation>& operations) {
  return loop.Await<std::uint64_t>([&](auto handler) { client.Txn(operations, std::move(handler)); });
}
/// Reads until the catalog holds an instance of "redis" of which the condition is true.
template <typename Condition>
ServiceEntry AwaitEntry(Loop& loop, Client& client, Condition condition) {
  const auto end = Clock::now() + kDeadline;
  while (Clock::now() < end) {
    const auto entries =
        loop.Await<std::vector<ServiceEntry>>([&](auto handler) { client.HealthService("redis", std::move(handler)); });
    REQUIRE(entries);
    for (const ServiceEntry& entry : *entries) {
      if (condition(entry)) return entry;
    }
  }
  FAIL("the catalog never held what was waited for");
  return {};
}

const CatalogCheck& RoleCheck(const ServiceEntry& entry) {
  const auto found = std::find_if(entry.checks.begin(), entry.checks.end(),
                                  [](const CatalogCheck& check) { return !check.service_id.empty(); });
  REQUIRE(found != entry.checks.end());
  return *found;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}
double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

TEST_CASE("Client: a service is registered, seen, updated and deregistered") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  const auto self = loop.Await<AgentSelf>([&](auto handler) { client->Self(std::move(handler)); });
  REQUIRE(self);
  CHECK(self->node == "n1");
  CHECK(self->datacenter == "dc1");

  REQUIRE(Register(loop, *client, Registration("r/1 ä", "replica")));
  const ServiceEntry entry = AwaitEntry(loop, *client, [](const auto& e) { return e.id == "r/1 ä"; });
  CHECK(entry.IsServed());
  CHECK(entry.HasTag("replica"));
  CHECK(entry.address == "127.0.0.1");
  CHECK(entry.port == 7001);
  CHECK(entry.meta.at("role") == "replica");
  CHECK(RoleCheck(entry).notes == "fed by a test");

  REQUIRE(UpdateTtl(loop, *client, "r/1 ä:role", CheckStatus::kCritical, "it is \"gone\""));
  const ServiceEntry critical = AwaitEntry(loop, *client, [](const auto& e) { return !e.IsServed(); });
  CHECK(RoleCheck(critical).output == "it is \"gone\"");
  REQUIRE(UpdateTtl(loop, *client, "r/1 ä:role", CheckStatus::kWarning, "lags"));
  CHECK(RoleCheck(AwaitEntry(loop, *client, [](const auto& e) { return e.IsServed(); })).status == "warning");

  // Seen on 1.8.7: registering anew keeps status and output of a check that is known already.
  REQUIRE(Register(loop, *client, Registration("r/1 ä", "master")));
  const ServiceEntry again = AwaitEntry(loop, *client, [](const auto& e) { return e.HasTag("master"); });
  CHECK(RoleCheck(again).status == "warning");
  // The same once more writes nothing.
  REQUIRE(Register(loop, *client, Registration("r/1 ä", "master")));
  CHECK(AwaitEntry(loop, *client, [](const auto&) { return true; }).modify_index == again.modify_index);

  REQUIRE(Deregister(loop, *client, "r/1 ä"));
  const auto entries =
      loop.Await<std::vector<ServiceEntry>>([&](auto handler) { client->HealthService("redis", std::move(handler)); });
  REQUIRE(entries);
  CHECK(entries->empty());
}

TEST_CASE("Client: a check that the agent does not know is kNotFound") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  const auto updated = UpdateTtl(loop, *client, "never", CheckStatus::kPassing, "");
  REQUIRE_FALSE(updated);
  CHECK(updated.error().kind == ErrorKind::kNotFound);
  CHECK(updated.error().message ==
        "cannot update check never: the Consul agent does not know it (HTTP 500: CheckID \"never\" does not have "
        "associated TTL)");
}

TEST_CASE("Client: compare-and-set of a key, over TCP and over a unix socket") {
  Loop loop;
  ConsulServer& server = SharedServer(loop);
  std::string url = server.url();
  std::string key = "service/k ey/master";
  SUBCASE("TCP") {}
  SUBCASE("a bare host:port") {
    url = url.substr(std::string("http://").size());
    key += "/bare";
  }
  SUBCASE("a slash at the end") {
    url += "/";
    key += "/slash";
  }
  SUBCASE("a unix socket") {
    std::ifstream file(server.dir() / "consul.json");
    const std::string settings{std::istreambuf_iterator<char>(file), {}};
    const std::size_t at = settings.find("unix://");
    url = settings.substr(at, settings.find('"', at) - at);
    key += "/unix";
  }
  const auto client = Connect(loop, {.url = url});
  const auto before = KvGet(loop, *client, key);
  REQUIRE(before);
  const std::string value = std::string("\0\xff{\"a\":1}", 9) + std::string(100000, 'x');
  REQUIRE(KvCas(loop, *client, key, value, before->modify_index));
  const auto after = KvGet(loop, *client, key);
  REQUIRE(after);
  CHECK(after->value == value);
  CHECK(after->modify_index > before->modify_index);
  const auto lost = KvCas(loop, *client, key, "other", before->modify_index);
  REQUIRE_FALSE(lost);
  CHECK(lost.error().kind == ErrorKind::kConflict);
}

TEST_CASE("Client: a transaction is committed or rolled back as a whole") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  REQUIRE(Register(loop, *client, Registration("t1", "replica")));
  const ServiceEntry before = AwaitEntry(loop, *client, [](const auto& e) { return e.id == "t1"; });
  CatalogCheck check = RoleCheck(before);
  check.output = "confirmed";
  const TxnServiceSet set{.entry = before, .tags = {"master"}, .meta = {{"role", "master"}}};
  const TxnCheckSet check_set{.node = before.node, .service_name = before.name, .check = check};

  const auto claim_before = KvGet(loop, *client, "t/claim");
  REQUIRE(claim_before);
  const std::string value = "after " + claim_before->value;  // Writing the same value would not move the index.
  const auto index = Txn(
      loop, *client, {TxnKvCas{.key = "t/claim", .value = value, .index = claim_before->modify_index}, set, check_set});
  REQUIRE(index);
  const ServiceEntry after = AwaitEntry(loop, *client, [](const auto& e) { return e.id == "t1"; });
  CHECK(after.modify_index == *index);
  CHECK(after.tags == std::vector<std::string>{"master"});
  CHECK(after.meta.at("role") == "master");
  CHECK(after.address == before.address);
  CHECK(RoleCheck(after).output == "confirmed");

  TxnServiceSet stale = set;
  stale.tags = {"replica"};
  SUBCASE("the key has another index") {
    const auto lost = Txn(loop, *client, {TxnKvCheckIndex{.key = "t/claim", .index = *index - 1}, stale});
    REQUIRE_FALSE(lost);
    CHECK(lost.error().kind == ErrorKind::kConflict);
    CHECK_MESSAGE(lost.error().message.find("t/claim") != std::string::npos, lost.error().message);
  }
  SUBCASE("the service has another index") {
    stale.index = before.modify_index;
    const auto lost = Txn(loop, *client, {TxnKvCheckIndex{.key = "t/claim", .index = *index}, stale});
    REQUIRE_FALSE(lost);
    CHECK(lost.error().kind == ErrorKind::kConflict);
  }
  SUBCASE("the check has another index") {
    REQUIRE(RoleCheck(after).modify_index > RoleCheck(before).modify_index);
    TxnCheckSet stale_check = check_set;
    stale_check.check.output = "never seen";
    stale_check.index = RoleCheck(before).modify_index;
    const auto lost = Txn(loop, *client, {TxnKvCheckIndex{.key = "t/claim", .index = *index}, stale, stale_check});
    REQUIRE_FALSE(lost);
    CHECK(lost.error().kind == ErrorKind::kConflict);
    // A change of the service, in the same transaction, leaves the check's index as it is.
    TxnServiceSet tagged = set;
    tagged.tags = {"master", "more"};
    TxnCheckSet same = check_set;
    same.index = RoleCheck(after).modify_index;
    CHECK(Txn(loop, *client, {TxnKvCheckIndex{.key = "t/claim", .index = *index}, tagged, same, set}));
  }
  CHECK(AwaitEntry(loop, *client, [](const auto& e) { return e.id == "t1"; }).HasTag("master"));

  // The local registration of the same content keeps what the transaction published.
  REQUIRE(UpdateTtl(loop, *client, "t1:role", CheckStatus::kPassing, "confirmed"));
  REQUIRE(Register(loop, *client, Registration("t1", "master")));
  const ServiceEntry settled = AwaitEntry(loop, *client, [](const auto& e) { return e.id == "t1"; });
  CHECK(settled.HasTag("master"));
  CHECK(RoleCheck(settled).output == "confirmed");
  REQUIRE(Deregister(loop, *client, "t1"));
  const auto claim = KvGet(loop, *client, "t/claim");
  REQUIRE(claim);
  CHECK(claim->value == value);
}

TEST_CASE("Client: watches see a change within milliseconds, a burst without pause, and hold up nothing") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  std::vector<std::unique_ptr<Watch>> others(8);
  int others_seen = 0;
  for (auto& other : others) {
    other = client->WatchKv("watch/none", 60s, [&](const Result<KvPair>&) { ++others_seen; });
  }
  std::string value;
  std::uint64_t index = 0;
  int calls = 0;
  const auto watch = client->WatchKv("watch/key", 60s, [&](const Result<KvPair>& pair) {
    REQUIRE(pair);
    ++calls;
    value = pair->value;
    index = pair->modify_index;
  });
  REQUIRE(loop.RunUntil([&] { return calls > 0 && others_seen == 8; }));
  CHECK(value.empty());

  std::vector<double> latencies;
  for (int i = 0; i < 15; ++i) {
    const std::string next = std::to_string(i);
    const auto start = Clock::now();
    client->KvCas("watch/key", next, index, [](const Result<void>& result) { CHECK(result); });
    REQUIRE(loop.RunUntil([&] { return value == next; }));
    latencies.push_back(MillisecondsSince(start));
  }
  MESSAGE("write of a key to its watch: median " << Median(latencies) << " ms, longest "
                                                 << *std::max_element(latencies.begin(), latencies.end()) << " ms");
  CHECK(Median(latencies) < 20);
}

TEST_CASE("Client: a service's watch sees registration, status and removal") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  std::optional<std::vector<ServiceEntry>> seen;
  const auto watch = client->WatchService("redis", 60s, [&](Result<std::vector<ServiceEntry>> entries) {
    REQUIRE(entries);
    seen = std::move(*entries);
  });
  REQUIRE(loop.RunUntil([&] { return seen.has_value(); }));
  client->RegisterService(Registration("w1", "master"), [](const Result<void>& result) { CHECK(result); });
  REQUIRE(loop.RunUntil([&] { return seen->size() == 1 && seen->at(0).IsServed(); }));
  client->UpdateTtl("w1:role", CheckStatus::kCritical, "gone", [](const Result<void>& result) { CHECK(result); });
  REQUIRE(loop.RunUntil([&] { return seen->size() == 1 && !seen->at(0).IsServed(); }));
  client->DeregisterService("w1", [](const Result<void>& result) { CHECK(result); });
  REQUIRE(loop.RunUntil([&] { return seen->empty(); }));
}

TEST_CASE("Client: a handler may destroy its watch, or the client") {
  Loop loop;
  auto client = Connect(loop, {.url = SharedServer(loop).url()});
  int calls = 0;
  std::unique_ptr<Watch> watch;
  SUBCASE("its watch") {
    watch = client->WatchKv("destroy", 100ms, [&](const Result<KvPair>&) {
      ++calls;
      watch.reset();
    });
  }
  SUBCASE("the client, and the watch after it") {
    watch = client->WatchKv("destroy", 100ms, [&](const Result<KvPair>&) {
      ++calls;
      client.reset();
      watch.reset();
    });
  }
  SUBCASE("the client, in the handler of a call, with others in flight") {
    watch = client->WatchKv("destroy", 100ms, [](const Result<KvPair>&) {});
    for (int i = 0; i < 5; ++i) {
      client->KvGet("destroy", [&](const Result<KvPair>&) {
        ++calls;
        client.reset();
      });
    }
  }
  REQUIRE(loop.RunUntil([&] { return calls == 1; }));
  loop.RunUntil([] { return false; }, 300ms);  // Three waits of a watch that were to go on.
  CHECK(calls == 1);
}

TEST_CASE("Client: without the rule for it, each call is kDenied") {
  Loop loop;
  const std::string management = "11111111-1111-1111-1111-111111111111";
  const std::string secret = "22222222-2222-2222-2222-222222222222";
  ConsulServer server(R"(,"acl":{"enabled":true,"default_policy":"deny","tokens":{"master":")" + management + R"("}})",
                      management);
  server.WaitUntilReady(loop);
  const auto admin = Connect(loop, {.url = server.url(), .token = management});
  REQUIRE(Register(loop, *admin, Registration("a1", "master")));
  ServiceEntry entry = AwaitEntry(loop, *admin, [](const auto& e) { return e.id == "a1"; });

  std::string token;
  SUBCASE("an unknown token") { token = secret; }
  SUBCASE("no token") {}
  const auto client = Connect(loop, {.url = server.url(), .token = token});
  std::vector<Error> errors;
  const auto note = [&errors](const auto& result) {
    REQUIRE_FALSE(result);
    errors.push_back(result.error());
  };
  note(Register(loop, *client, Registration("r1", "master")));
  note(KvCas(loop, *client, "service/redis/master", "v", 0));
  note(KvGet(loop, *client, "service/redis/master"));
  note(Txn(loop, *client,
           {TxnKvCas{.key = "k", .value = "v", .index = 0},
            TxnServiceSet{.entry = entry, .tags = {"replica"}, .meta = {}}}));
  note(UpdateTtl(loop, *client, "a1:role", CheckStatus::kPassing, ""));
  note(loop.Await<AgentSelf>([&](auto handler) { client->Self(std::move(handler)); }));
  for (const Error& error : errors) {
    CHECK_MESSAGE(error.kind == ErrorKind::kDenied, error.message);
    CHECK(error.message.find(secret) == std::string::npos);
  }
  // A heartbeat of a check that is not there stays kNotFound with ACLs, in other words than without.
  const auto unknown = UpdateTtl(loop, *admin, "never", CheckStatus::kPassing, "");
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().kind == ErrorKind::kNotFound);
}

TEST_CASE("HttpTransport: what is no Consul gives an error of the right kind, in a sentence that names it") {
  Loop loop;
  struct Row {
    std::string answer;
    ErrorKind kind;
    std::string_view words;
  };
  const Row rows[] = {
      {"", ErrorKind::kUnreachable, "ended the connection"},
      {"+PONG\r\n-ERR wrong number of arguments\r\n", ErrorKind::kMalformedReply, "does not speak HTTP"},
      {std::string("\0\xff\x01\x02", 4), ErrorKind::kMalformedReply, "does not speak HTTP"},
      {HttpOk("X-Consul-Index: 1\r\n", "<html>"), ErrorKind::kMalformedReply, "not JSON"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[", ErrorKind::kUnreachable, "ended the connection"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n[", ErrorKind::kUnreachable, "ended the connection"},
      {HttpOk("", std::string((std::size_t{16} << 20U) + 1, ' ')), ErrorKind::kMalformedReply, "16 MiB"},
      {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", ErrorKind::kServer,
       "redirect"},
      {HttpOk("X-Consul-Index: 9\r\nX-Consul-KnownLeader: false\r\n", "[]"), ErrorKind::kNoLeader, "no leader"},
      {"HTTP/1.1 500 Oops\r\nContent-Length: 17\r\n\r\nNo cluster leader", ErrorKind::kNoLeader, "No cluster leader"},
      {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ErrorKind::kNotFound, "404"},
  };
  for (const Row& row : rows) {
    FakeServer server(loop, row.answer);
    {
      const auto client = Connect(loop, {.url = server.url()});
      const auto pair = KvGet(loop, *client, "k");
      REQUIRE_FALSE(pair);
      CAPTURE(pair.error().message);
      CHECK(pair.error().kind == row.kind);
      CHECK(pair.error().message.find(row.words) != std::string::npos);
      CHECK(pair.error().message.find('\n') == std::string::npos);
    }
    server.Stop(loop);
  }
}

TEST_CASE("HttpTransport: nobody there, silence, and names without an address") {
  Loop loop;
  const std::string free_port = std::to_string(PickPorts(1));
  {
    const auto client = Connect(loop, {.url = "http://127.0.0.1:" + free_port});
    const auto pair = KvGet(loop, *client, "k");
    REQUIRE_FALSE(pair);
    CHECK(pair.error().kind == ErrorKind::kUnreachable);
    CHECK(pair.error().message ==
          "cannot read key k: Consul at http://127.0.0.1:" + free_port + " refuses connections: is the agent running?");
  }
  {
    const auto client = Connect(loop, {.url = "unix:///nonexistent/http.sock"});
    const auto pair = KvGet(loop, *client, "k");
    REQUIRE_FALSE(pair);
    CHECK(pair.error().kind == ErrorKind::kUnreachable);
    CHECK_MESSAGE(pair.error().message.find("/nonexistent/http.sock") != std::string::npos, pair.error().message);
  }
  {
    const auto client = Connect(loop, {.url = "http://no-such-host.invalid:8500"});
    const auto pair = KvGet(loop, *client, "k");
    REQUIRE_FALSE(pair);
    CHECK(pair.error().kind == ErrorKind::kUnreachable);
  }
  FakeServer server(loop, "HTTP/1.1 200 OK\r\n", /*closes=*/false);
  {
    auto transport = HttpTransport::Create(loop.get(), {.url = server.url()});
    REQUIRE(transport);
    const auto response = loop.Await<HttpResponse>([&](auto handler) {
      (*transport)->Send({.method = "GET", .path = "/", .body = {}, .timeout = 100ms}, std::move(handler));
    });
    REQUIRE_FALSE(response);
    CHECK(response.error().kind == ErrorKind::kTimeout);
    bool was_called = false;
    const auto id = (*transport)
                        ->Send({.method = "GET", .path = "/", .body = {}, .timeout = 50ms},
                               [&](const Result<HttpResponse>&) { was_called = true; });
    (*transport)->Cancel(id);
    (*transport)->Cancel(id);
    loop.RunUntil([&] { return was_called; }, 150ms);
    CHECK_FALSE(was_called);
  }
  server.Stop(loop);
}

TEST_CASE("HttpTransport: the namespace goes into every query") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url(), .name_space = "team a"});
  const auto pair = KvGet(loop, *client, "k");
  REQUIRE_FALSE(pair);  // Consul without Enterprise refuses the parameter by name.
  CHECK_MESSAGE(pair.error().message.find("Namespaces are a Consul Enterprise feature") != std::string::npos,
                pair.error().message);
}

TEST_CASE("HttpTransport: namespace and partition go into every query, with and without one of its own") {
  Loop loop;
  FakeServer server(loop, HttpOk("", "true"));
  const auto client = Connect(loop, {.url = server.url(), .name_space = "team a", .partition = "north"});
  static_cast<void>(KvGet(loop, *client, "k"));
  CHECK_MESSAGE(server.last_request().starts_with("GET /v1/kv/k?leader&ns=team%20a&partition=north HTTP/1.1"),
                server.last_request());
  static_cast<void>(Register(loop, *client, Registration("r", "master")));
  CHECK_MESSAGE(server.last_request().find("ns=team%20a&partition=north HTTP/1.1") != std::string::npos,
                server.last_request());
  server.Stop(loop);
}

TEST_CASE("HttpTransport: of many calls 32 are under way, blocking queries aside, and the others follow") {
  Loop loop;
  FakeServer server(loop, "HTTP/1.1 200 OK\r\n", /*closes=*/false);
  auto transport = HttpTransport::Create(loop.get(), {.url = server.url()});
  REQUIRE(transport);
  std::vector<HttpTransport::RequestId> calls;
  const auto send = [&](bool waits) {
    return (*transport)
        ->Send({.method = "GET", .path = "/", .body = {}, .timeout = 60s, .waits = waits},
               [](const Result<HttpResponse>&) { FAIL("nobody answers"); });
  };
  for (int i = 0; i < 40; ++i) send(true);
  calls.reserve(100);
  for (int i = 0; i < 100; ++i) calls.push_back(send(false));
  REQUIRE(loop.RunUntil([&] { return server.requests() == 72; }));
  CHECK_FALSE(loop.RunUntil([&] { return server.requests() > 72; }, 100ms));
  (*transport)->Cancel(calls.back());  // One that waits for its turn.
  for (int i = 0; i < 50; ++i) (*transport)->Cancel(calls[static_cast<std::size_t>(i)]);
  REQUIRE(loop.RunUntil([&] { return server.requests() == 104; }));
  CHECK_FALSE(loop.RunUntil([&] { return server.requests() > 104; }, 100ms));
  // Those that yield are fewer, and leave room for the others.
  transport = HttpTransport::Create(loop.get(), {.url = server.url()});
  REQUIRE(transport);
  for (int i = 0; i < 20; ++i) {
    (*transport)
        ->Send({.method = "PUT", .path = "/", .body = {}, .timeout = 60s, .yields = true},
               [](const Result<HttpResponse>&) { FAIL("nobody answers"); });
  }
  REQUIRE(loop.RunUntil([&] { return server.requests() == 108; }));
  send(false);
  REQUIRE(loop.RunUntil([&] { return server.requests() == 109; }));
  CHECK_FALSE(loop.RunUntil([&] { return server.requests() > 109; }, 100ms));
  transport->reset();
  server.Stop(loop);
}

TEST_CASE("Client: one that shares connections ends alone") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  auto shared = client->Share();
  bool was_called = false;
  shared->KvGet("k", [&](const Result<KvPair>&) { was_called = true; });
  const auto watch = shared->WatchKv("k", 1s, [&](const Result<KvPair>&) { was_called = true; });
  shared.reset();
  CHECK(KvGet(loop, *client, "k"));
  CHECK_FALSE(loop.RunUntil([&] { return was_called; }, 100ms));
}

TEST_CASE("HttpTransport: another token is sent from the next call on") {
  Loop loop;
  FakeServer server(loop, HttpOk("", "true"));
  const auto client = Connect(loop, {.url = server.url(), .token = "sesame-one"});
  const auto sent = [&](const std::string& token) {
    static_cast<void>(KvGet(loop, *client, "k"));
    return server.last_request().find("X-Consul-Token: " + token + "\r\n") != std::string::npos;
  };
  CHECK(sent("sesame-one"));
  CHECK(client->SetToken("sesame-two"));
  CHECK(sent("sesame-two"));
  const auto refused = client->SetToken("sesame\r\nX-Other: 1");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("sesame") == std::string::npos);
  CHECK(sent("sesame-two"));
  server.Stop(loop);
}

TEST_CASE("Watch: a server that answers at once without a change is not asked in a spin") {
  Loop loop;
  FakeServer server(loop, HttpOk("X-Consul-Index: 5\r\n", "[]"), /*closes=*/false);
  {
    const auto client = Connect(loop, {.url = server.url()});
    int calls = 0;
    const auto start = Clock::now();
    const auto watch = client->WatchService("redis", 60s, [&](const Result<std::vector<ServiceEntry>>&) { ++calls; });
    REQUIRE(loop.RunUntil([&] { return calls >= 15; }));
    CHECK(MillisecondsSince(start) < 500);  // The burst passes at once.
    REQUIRE(loop.RunUntil([&] { return calls >= 40; }));
    CHECK(MillisecondsSince(start) > 850);  // 20 at once, then one each 50 ms.
  }
  server.Stop(loop);
}

TEST_CASE("Watch: a server killed during a blocking query is an error; its return is noticed") {
  Loop loop;
  ConsulServer server;
  server.WaitUntilReady(loop);
  const auto client = Connect(loop, {.url = server.url()});
  REQUIRE(KvCas(loop, *client, "k", "before", 0));
  std::optional<Result<KvPair>> last;
  const auto watch = client->WatchKv("k", 60s, [&](Result<KvPair> pair) { last = std::move(pair); });
  REQUIRE(loop.RunUntil([&] { return last && *last && (*last)->value == "before"; }));

  auto start = Clock::now();
  server.Kill();
  REQUIRE(loop.RunUntil([&] { return last && !*last; }));
  MESSAGE("killed server seen by a watch after " << MillisecondsSince(start) << " ms: " << last->error().message);
  CHECK(last->error().kind == ErrorKind::kUnreachable);

  server.Start();  // Empty, with indexes that begin anew.
  server.WaitUntilReady(loop);
  start = Clock::now();
  REQUIRE(loop.RunUntil([&] { return last && *last; }));
  MESSAGE("restarted server seen by a watch " << MillisecondsSince(start) << " ms after it leads");
  CHECK(MillisecondsSince(start) < 1000);
  CHECK((*last)->modify_index == 0);
  REQUIRE(KvCas(loop, *client, "k", "after", 0));
  REQUIRE(loop.RunUntil([&] { return last && *last && (*last)->value == "after"; }));
}

TEST_CASE("HttpTransport: TLS with Consul's own certificates") {
  Loop loop;
  const TempDir certificates;
  RunTool({FindConsul(), "tls", "ca", "create"}, certificates);
  RunTool({FindConsul(), "tls", "cert", "create", "-server", "-dc", "dc1", "-additional-dnsname", "consul.test"},
          certificates);
  RunTool({FindConsul(), "tls", "cert", "create", "-client", "-dc", "dc1"}, certificates);
  const std::string ca = certificates / "consul-agent-ca.pem";
  const std::string client_cert = certificates / "dc1-client-consul-0.pem";
  const std::string client_key = certificates / "dc1-client-consul-0-key.pem";
  ConsulServer server(R"(,"verify_incoming_https":true,"ca_file":")" + ca + R"(","cert_file":")" +
                      (certificates / "dc1-server-consul-0.pem") + R"(","key_file":")" +
                      (certificates / "dc1-server-consul-0-key.pem") + R"(")");
  server.WaitUntilReady(loop);
  HttpTransport::Options options{
      .url = server.https_url(), .ca_file = ca, .client_cert = client_cert, .client_key = client_key};
  bool is_accepted = false;
  SUBCASE("all is right") { is_accepted = true; }
  SUBCASE("another name that the certificate has") {
    options.tls_server_name = "consul.test";
    is_accepted = true;
  }
  SUBCASE("unknown issuer, not verified") {
    options.ca_file.clear();
    options.verify = false;
    is_accepted = true;
  }
  SUBCASE("unknown issuer") { options.ca_file.clear(); }
  SUBCASE("a name that the certificate has not") { options.tls_server_name = "other.test"; }
  SUBCASE("no client certificate") {
    options.client_cert.clear();
    options.client_key.clear();
  }
  const auto client = Connect(loop, options);
  const auto pair = KvGet(loop, *client, "k");
  CHECK(pair.has_value() == is_accepted);
  if (!pair) {
    CHECK_MESSAGE(pair.error().kind == ErrorKind::kTls, pair.error().message);
    CHECK(pair.error().message.find(server.https_url()) != std::string::npos);
  }
}

TEST_CASE("HttpTransport::Create: settings that cannot work are named, secrets are not") {
  Loop loop;
  struct Row {
    HttpTransport::Options options;
    std::string_view words;
  };
  const Row rows[] = {
      {{.url = ""}, "CONSUL_HTTP_ADDR"},
      {{.url = "ftp://h:1"}, "scheme"},
      {{.url = "http://"}, "cannot be read"},
      {{.url = "http://h:99999"}, "cannot be read"},
      {{.url = "http://user:sesame@h:1"}, "credentials"},
      {{.url = "http://h:1/?token=sesame"}, "query"},
      {{.url = "unix://relative"}, "absolute"},
      {{.url = "unix:///" + std::string(200, 'x')}, "longer"},
      {{.token = "sesame\r\nX-Other: 1"}, "token"},
      {{.ca_file = "/nonexistent/ca.pem"}, "CONSUL_CACERT"},
      {{.client_cert = "/nonexistent/cert.pem"}, "CONSUL_CLIENT_CERT"},
      {{.client_key = "/nonexistent/key.pem"}, "CONSUL_CLIENT_KEY"},
      {{.url = "https://h:1", .tls_server_name = "a b"}, "CONSUL_TLS_SERVER_NAME"},
  };
  for (const Row& row : rows) {
    const auto client = Client::Create(loop.get(), row.options);
    CAPTURE(row.words);
    REQUIRE_FALSE(client);
    CAPTURE(client.error().message);
    CHECK(client.error().kind == ErrorKind::kConfiguration);
    CHECK(client.error().message.find(row.words) != std::string::npos);
    CHECK(client.error().message.find("sesame") == std::string::npos);
  }
  CHECK(Client::Create(loop.get(), {.url = "http://[::1]:8500"}));
  CHECK(Client::Create(loop.get(), {.url = "localhost:8500"}));
}

TEST_CASE("Client: what the calls of a takeover cost on loopback") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  REQUIRE(Register(loop, *client, Registration("p1", "replica")));
  const ServiceEntry entry = AwaitEntry(loop, *client, [](const auto& e) { return e.id == "p1"; });
  std::vector<double> registrations;
  std::vector<double> updates;
  std::vector<double> transactions;
  std::uint64_t index = 0;
  for (int i = 0; i < 200; ++i) {
    const std::string tag = i % 2 == 0 ? "master" : "replica";
    auto start = Clock::now();
    REQUIRE(Register(loop, *client, Registration("p1", tag)));
    registrations.push_back(MillisecondsSince(start));
    start = Clock::now();
    REQUIRE(UpdateTtl(loop, *client, "p1:role", i % 2 == 0 ? CheckStatus::kWarning : CheckStatus::kPassing, tag));
    updates.push_back(MillisecondsSince(start));
    start = Clock::now();
    const auto written = Txn(loop, *client,
                             {TxnKvCas{.key = "p/claim", .value = tag, .index = index},
                              TxnServiceSet{.entry = entry, .tags = {tag}, .meta = {}},
                              TxnCheckSet{.node = entry.node, .service_name = entry.name, .check = RoleCheck(entry)}});
    transactions.push_back(MillisecondsSince(start));
    REQUIRE(written);
    index = *written;
  }
  REQUIRE(Deregister(loop, *client, "p1"));
  MESSAGE("median of 200: register " << Median(registrations) << " ms, TTL update with a status change "
                                     << Median(updates) << " ms, transaction of 3 operations " << Median(transactions)
                                     << " ms");
}

}  // namespace
}  // namespace rcb::consul
