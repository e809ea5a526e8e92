#include "agent/commands.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "agent/event_loop.h"
#include "agent/log.h"
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

/// Runs one call to Consul to its end on a loop of its own.
template <typename T>
consul::Result<T> Await(EventLoop& loop, const std::function<void(consul::Client::Handler<T>)>& call) {
  std::optional<consul::Result<T>> answer;
  call([&](consul::Result<T> result) {
    answer = std::move(result);
    loop.Stop();
  });
  loop.Run();
  return *std::move(answer);
}

/// Reads the claim and gives it, with the client and loop that read it, to `then`.
int WithClaim(const ConfigSources& sources,
              const std::function<int(EventLoop&, consul::Client&, const consul::KvPair&)>& then) {
  EventLoop loop;
  const auto setup = Prepare(loop, sources);
  if (!setup) return Fail(setup.error());
  const std::string key = ClaimKey(setup->config.service);
  const auto pair = Await<consul::KvPair>(loop, [&](auto handler) { setup->client->KvGet(key, std::move(handler)); });
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
  Reloadable(EventLoop& loop, Setup setup) : loop_(loop), watcher_(MakeWatcher(std::move(setup))) { watcher_->Start(); }

  void Reload(Setup setup) {
    next_ = MakeWatcher(std::move(setup));  // A second reload outdates the first.
    next_->StartSilently(*watcher_);
    until_ = std::chrono::steady_clock::now() + kReloadPatience;
  }

  /// True when a reload is through by this tick.
  bool OnTick() {
    watcher_->OnTick();
    if (!next_) return false;
    next_->OnTick();
    const bool ready = next_->IsFed() && !watcher_->SeesElection();
    if (!ready && std::chrono::steady_clock::now() < until_) return false;
    const std::vector<std::string> before = watcher_->ServiceIds();
    watcher_ = std::move(next_);
    watcher_->TakeOver();
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
    return std::make_unique<Watcher>(loop_.handle(), setup.config, std::move(setup.client));
  }

  EventLoop& loop_;
  std::unique_ptr<Watcher> watcher_;
  std::unique_ptr<Watcher> next_;
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

int ShowClaim(const ConfigSources& sources) {
  return WithClaim(sources, [](EventLoop&, consul::Client&, const consul::KvPair& pair) {
    const auto claim = DecodeClaim(pair.value);
    if (!claim) return Fail("the key " + pair.key + " holds no claim: " + claim.error().message);
    return Print(EncodeClaim(*claim));
  });
}

int ReleaseClaim(const ConfigSources& sources) {
  return WithClaim(sources, [](EventLoop& loop, consul::Client& client, const consul::KvPair& pair) {
    const auto deleted =
        Await<void>(loop, [&](auto handler) { client.KvDelete(pair.key, pair.modify_index, std::move(handler)); });
    if (!deleted) return Fail(deleted.error().message);
    const auto claim = DecodeClaim(pair.value);
    std::printf("released %s%s\n", pair.key.c_str(),
                claim ? (", held by " + HolderName(*claim) + " at epoch " + std::to_string(claim->epoch)).c_str() : "");
    return 0;
  });
}

}  // namespace rcb::agent
