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

std::unique_ptr<Watcher> StartWatcher(EventLoop& loop, Setup setup) {
  SetUpLog(setup.config.log_level, setup.config.log_json);
  auto watcher = std::make_unique<Watcher>(loop.handle(), setup.config, std::move(setup.client));
  watcher->Start();
  return watcher;
}

}  // namespace

int Run(const ConfigSources& sources) {
  std::signal(SIGPIPE, SIG_IGN);
  SystemdNotify systemd;
  EventLoop loop;
  auto setup = Prepare(loop, sources);
  if (!setup) return Fail(setup.error());
  auto watcher = StartWatcher(loop, *std::move(setup));
  Log(LogLevel::kInfo, "", "redis-consul-agent " RCB_VERSION " started");

  loop.Every(Watcher::kTick, [&] {
    watcher->OnTick();
    systemd.Status(watcher->Summary());
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
    } else {
      const std::vector<std::string> before = watcher->ServiceIds();
      watcher = StartWatcher(loop, *std::move(renewed));
      Log(LogLevel::kInfo, "", "reloaded");
      const std::vector<std::string> after = watcher->ServiceIds();
      for (const std::string& id : before) {
        if (std::find(after.begin(), after.end(), id) == after.end()) watcher->Deregister(id);
      }
    }
    systemd.Ready();
  });
  systemd.Ready();
  loop.Run();
  watcher.reset();
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
    if (!claim) return Fail("the key " + pair.key + " holds no claim: " + claim.error());
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
