#include "agent/commands.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include <unistd.h>

#include "agent/await.h"
#include "agent/doctor.h"
#include "agent/event_loop.h"
#include "agent/log.h"
#include "agent/status_server.h"
#include "agent/status_text.h"
#include "agent/systemd_notify.h"
#include "agent/watcher.h"

namespace rcb::agent {
namespace {

constexpr int kUsageError = 2;

int Fail(const std::string& text) {
  std::fprintf(stderr, "redis-consul-agent: %s\n", text.c_str());
  return kUsageError;
}

/// Writes what was asked for; a full disk is a fault.
int Print(const std::string& text) {
  if (std::puts(text.c_str()) >= 0 && std::fflush(stdout) == 0) return 0;
  return Fail(std::string("cannot write to standard output: ") + std::strerror(errno));
}

/// Settings that load, and a client that they make.
struct Setup {
  Config config;
  std::unique_ptr<consul::Client> client;
};

tl::expected<Setup, std::string> Prepare(EventLoop& loop, const ConfigSources& sources) {
  auto config = LoadConfig(sources);
  if (!config) return tl::unexpected(config.error());
  auto client = consul::Client::Create(loop.handle(), config->consul);
  if (!client) return tl::unexpected(client.error().message);
  return Setup{*std::move(config), *std::move(client)};
}

constexpr int kNoClaim = 1;
constexpr int kNoAgent = 1;
constexpr int kNotDone = 1;
constexpr std::uint16_t kDnsPort = 8600;

/// Where to reach a server that listens there.
redis::Endpoint Reachable(redis::Endpoint listen) {
  if (listen.host == "0.0.0.0") listen.host = "127.0.0.1";
  if (listen.host == "::") listen.host = "::1";
  return listen;
}

/// What the agent that listens there answers. The error is a sentence with the remedy.
tl::expected<std::string, std::string> AskAgent(EventLoop& loop, const redis::Endpoint& listen) {
  const std::string place = Reachable(listen).ToString();
  consul::HttpTransport::Options options;
  options.url = "http://" + place;
  const auto transport = consul::HttpTransport::Create(loop.handle(), options);
  if (!transport) return tl::unexpected(transport.error().message);
  consul::HttpRequest request;
  request.method = "GET";
  request.path = "/status";
  const auto response = Await<consul::Result<consul::HttpResponse>>(
      loop, [&](auto handler) { (*transport)->Send(request, std::move(handler)); });
  if (!response) {
    return tl::unexpected("no agent answers at " + place +
                          ": start it (redis-consul-agent run), or say where it listens (--listen, --config)");
  }
  if (response->status != 200) {
    return tl::unexpected("the agent at " + place +
                          " runs, but its event loop does not answer: see its log, restart it");
  }
  return response->body;
}

/// Prints what `text` or `json` makes of the running agent's status.
int WithStatus(const ConfigSources& sources,
               const std::function<std::string(const Status&, const std::string&)>& form) {
  const auto config = LoadConfig(sources);
  if (!config) return Fail(config.error());
  if (!config->listen) return Fail("listen is off: this agent shows its status nowhere");
  EventLoop loop;
  const auto body = AskAgent(loop, *config->listen);
  if (!body) {
    Fail(body.error());
    return kNoAgent;
  }
  const auto status = DecodeStatus(*body);
  if (!status) {
    Fail(Reachable(*config->listen).ToString() + ": " + status.error());
    return kNoAgent;
  }
  return Print(form(*status, *body));
}

/// https://no-color.org: on a terminal, unless the variable is there and not empty.
bool WantsColours() {
  const char* no_colour = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) != 0 && (no_colour == nullptr || *no_colour == '\0');
}

/// True when the agent at `listen` registers one of these.
bool IsRunning(EventLoop& loop, const Config& config, const std::vector<std::string>& ids) {
  if (!config.listen) return false;
  const auto body = AskAgent(loop, *config.listen);
  const auto status = body ? DecodeStatus(*body) : tl::unexpected(body.error());
  return status && std::any_of(status->instances.begin(), status->instances.end(), [&ids](const auto& instance) {
           return std::find(ids.begin(), ids.end(), instance.service_id) != ids.end();
         });
}

/// Reads the claim and gives it, with the client and loop that read it, to `then`.
int WithClaim(const ConfigSources& sources,
              const std::function<int(EventLoop&, consul::Client&, const consul::KvPair&)>& then) {
  EventLoop loop;
  const auto setup = Prepare(loop, sources);
  if (!setup) return Fail(setup.error());
  const std::string key = ClaimKey(setup->config.service);
  const auto pair =
      Await<consul::Result<consul::KvPair>>(loop, [&](auto handler) { setup->client->KvGet(key, std::move(handler)); });
  if (!pair) return Fail(pair.error().message);
  if (pair->modify_index == 0) {
    std::fprintf(stderr, "redis-consul-agent: nobody holds the claim: there is no key %s\n", key.c_str());
    return kNoClaim;
  }
  return then(loop, *setup->client, *pair);
}

/// How long a reload waits until the new settings have heard of everything, and a failover under way is over.
constexpr std::chrono::milliseconds kReloadPatience{5000};

/// The watcher, and the one that is to follow it after a reload.
class Reloadable {
 public:
  Reloadable(EventLoop& loop, Setup setup)
      : loop_(loop), listen_(setup.config.listen), watcher_(MakeWatcher(std::move(setup))) {
    telemetry_.started = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
    watcher_->Start();
    Listen();
  }

  void Reload(Setup setup) {
    next_listen_ = setup.config.listen;
    next_ = MakeWatcher(std::move(setup));  // A second reload outdates the first.
    next_->StartSilently(*watcher_);
    until_ = std::chrono::steady_clock::now() + kReloadPatience;
  }

  /// True when a reload is through by this tick.
  bool OnTick() {
    CountLag();
    watcher_->OnTick();
    if (server_ && server_->is_asked()) server_->Answer({watcher_->Describe(), telemetry_.tally});
    if (!next_) return false;
    next_->OnTick();
    const bool ready = next_->IsFed() && !watcher_->SeesElection();
    if (!ready && std::chrono::steady_clock::now() < until_) return false;
    const std::vector<std::string> before = watcher_->ServiceIds();
    watcher_ = std::move(next_);
    watcher_->TakeOver();
    if (next_listen_ != listen_) {
      listen_ = next_listen_;
      Listen();
    }
    const std::vector<std::string> after = watcher_->ServiceIds();
    for (const std::string& id : before) {
      if (std::find(after.begin(), after.end(), id) == after.end()) watcher_->Deregister(id);
    }
    return true;
  }

  std::string Summary() const { return watcher_->Summary(); }

 private:
  std::unique_ptr<Watcher> MakeWatcher(Setup setup) {
    SetUpLog(setup.config.log_level, setup.config.log_json);
    return std::make_unique<Watcher>(loop_.handle(), setup.config, std::move(setup.client), telemetry_);
  }

  /// Another agent of this host may have the port: that is no reason not to do the work.
  void Listen() {
    server_.reset();
    if (!listen_) return;
    auto server = StatusServer::Start(*listen_);
    if (server) {
      server_ = *std::move(server);
    } else {
      Log(LogLevel::kInfo, "status", server.error() + "; no status and no metrics are served (set listen)");
    }
  }

  void CountLag() {
    const auto now = std::chrono::steady_clock::now();
    if (ticked_at_) telemetry_.tally.loop_lag.Observe(std::max(now - *ticked_at_ - Watcher::kTick, {}));
    ticked_at_ = now;
  }

  EventLoop& loop_;
  Telemetry telemetry_;
  std::optional<redis::Endpoint> listen_;
  std::unique_ptr<StatusServer> server_;  ///< Absent where nothing listens.
  std::optional<std::chrono::steady_clock::time_point> ticked_at_;
  std::unique_ptr<Watcher> watcher_;
  std::unique_ptr<Watcher> next_;
  std::optional<redis::Endpoint> next_listen_;
  std::chrono::steady_clock::time_point until_;
};

}  // namespace

int Run(const ConfigSources& sources) {
  std::signal(SIGPIPE, SIG_IGN);
  SystemdNotify systemd;
  EventLoop loop;
  auto setup = Prepare(loop, sources);
  if (!setup) return Fail(setup.error());
  auto reloadable = std::make_unique<Reloadable>(loop, *std::move(setup));
  Log(LogLevel::kInfo, "", "redis-consul-agent " RCB_VERSION " started");

  loop.Every(Watcher::kTick, [&] {
    if (reloadable->OnTick()) {
      Log(LogLevel::kInfo, "", "reloaded");
      systemd.Ready();
    }
    systemd.Status(reloadable->Summary());
  });
  if (const auto interval = systemd.watchdog_interval()) loop.Every(*interval, [&] { systemd.KickWatchdog(); });
  for (const int signal : {SIGTERM, SIGINT}) {
    loop.OnSignal(signal, [&] {
      Log(LogLevel::kInfo, "", "stopping; what is registered stays until its TTL ends");
      systemd.Stopping();
      loop.Stop();
    });
  }
  loop.OnSignal(SIGHUP, [&] {
    systemd.Reloading();
    auto renewed = Prepare(loop, sources);
    if (!renewed) {
      Log(LogLevel::kError, "", "not reloaded, the running settings stay: " + renewed.error());
      systemd.Ready();
    } else {
      reloadable->Reload(*std::move(renewed));
    }
  });
  systemd.Ready();
  loop.Run();
  reloadable.reset();
  return 0;
}

int CheckConfig(const ConfigSources& sources) {
  EventLoop loop;
  const auto setup = Prepare(loop, sources);
  if (!setup) return Fail(setup.error());
  return Print(DescribeConfig(setup->config));
}

int ShowStatus(const ConfigSources& sources, Output output) {
  return WithStatus(sources, [output](const Status& status, const std::string& json) {
    return output == Output::kJson ? json : StatusTable(status, WantsColours());
  });
}

int ExplainStatus(const ConfigSources& sources, Output output) {
  return WithStatus(sources, [output](const Status& status, const std::string&) {
    return output == Output::kJson ? ExplainJson(status) : Explain(status, WantsColours());
  });
}

int Deregister(const ConfigSources& sources) {
  EventLoop loop;
  const auto setup = Prepare(loop, sources);
  if (!setup) return Fail(setup.error());
  const std::vector<std::string> ids = Watcher::ServiceIds(setup->config);
  if (IsRunning(loop, setup->config, ids)) {
    Fail("the agent still runs and would register again: stop it first, then try again");
    return kNotDone;
  }
  int status = 0;
  for (const std::string& id : ids) {
    const auto result = Await<consul::Result<void>>(
        loop, [&](auto handler) { setup->client->DeregisterService(id, std::move(handler)); });
    if (result) {
      std::printf("deregistered %s\n", id.c_str());
    } else if (result.error().kind == consul::ErrorKind::kNotFound) {
      std::printf("%s was not registered\n", id.c_str());
    } else {
      Fail(result.error().message);
      status = kNotDone;
    }
  }
  return status;
}

int RunDoctor(const ConfigSources& sources, const std::string& dns, Output output) {
  const auto config = LoadConfig(sources);
  if (!config) return Fail(config.error());
  std::optional<redis::Endpoint> server;
  if (!dns.empty()) {
    const auto parsed = redis::ParseEndpoint(dns, kDnsPort);
    if (!parsed) return Fail("--dns: " + parsed.error().message);
    server = *parsed;
  }
  std::signal(SIGPIPE, SIG_IGN);
  EventLoop loop;
  const std::vector<Finding> findings = Examine(loop, *config, server);
  const int printed = Print(output == Output::kJson ? FindingsJson(findings) : FindingsText(findings, WantsColours()));
  return printed == 0 && HasFault(findings) ? kNotDone : printed;
}

int ShowClaim(const ConfigSources& sources) {
  return WithClaim(sources, [](EventLoop&, consul::Client&, const consul::KvPair& pair) {
    const auto claim = DecodeClaim(pair.value);
    if (!claim) return Fail("the key " + pair.key + " holds no claim: " + claim.error().message);
    return Print(EncodeClaim(*claim));
  });
}

int ReleaseClaim(const ConfigSources& sources) {
  return WithClaim(sources, [](EventLoop& loop, consul::Client& client, const consul::KvPair& pair) {
    const auto deleted = Await<consul::Result<void>>(
        loop, [&](auto handler) { client.KvDelete(pair.key, pair.modify_index, std::move(handler)); });
    if (!deleted) return Fail(deleted.error().message);
    const auto claim = DecodeClaim(pair.value);
    std::printf("released %s%s\n", pair.key.c_str(),
                claim ? (", held by " + HolderName(*claim) + " at epoch " + std::to_string(claim->epoch)).c_str() : "");
    return 0;
  });
}

}  // namespace rcb::agent
