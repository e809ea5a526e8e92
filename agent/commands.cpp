#include "agent/commands.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include <sys/resource.h>

#include "agent/await.h"
#include "agent/bridge.h"
#include "agent/doctor.h"
#include "agent/event_loop.h"
#include "agent/log.h"
#include "agent/status_text.h"
#include "agent/systemd_notify.h"
#include "agent/terminal.h"
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

/// Those that the command is about. The error is a sentence.
tl::expected<std::vector<Config>, std::string> GroupsAskedFor(const Config& config) {
  std::vector<Config> groups = GroupsOf(config);
  if (groups.empty()) {
    return tl::unexpected<std::string>(
        "with discover only the running agent knows its groups: name one by --redis, --service, --master-name and "
        "--sentinel, without --config and --discover");
  }
  return groups;
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

/// True when the agent at `listen` registers one of these.
bool IsRunning(EventLoop& loop, const Config& config, const std::vector<std::string>& ids) {
  if (!config.listen) return false;
  const auto body = AskAgent(loop, *config.listen);
  const auto status = body ? DecodeStatus(*body) : tl::unexpected(body.error());
  if (!status) return false;
  const std::span<const GroupStatus> groups = GroupsOf(*status);
  return std::any_of(groups.begin(), groups.end(), [&ids](const GroupStatus& group) {
    return std::any_of(group.instances.begin(), group.instances.end(), [&ids](const InstanceStatus& instance) {
      return std::find(ids.begin(), ids.end(), instance.service_id) != ids.end();
    });
  });
}

/// Reads the claim of each group and gives it, with the client and loop that read it, to `then`. Returns the worst exit
/// status.
int WithClaims(EventLoop& loop, const Setup& setup,
               const std::function<int(EventLoop&, consul::Client&, const consul::KvPair&)>& then) {
  int worst = 0;
  const auto groups = GroupsAskedFor(setup.config);
  if (!groups) return Fail(groups.error());
  for (const Config& group : *groups) {
    const std::string key = ClaimKey(group.service);
    const auto pair = Await<consul::Result<consul::KvPair>>(
        loop, [&](auto handler) { setup.client->KvGet(key, std::move(handler)); });
    if (!pair) return Fail(pair.error().message);
    int status = kNoClaim;
    if (pair->modify_index == 0) {
      std::fprintf(stderr, "redis-consul-agent: nobody holds the claim: there is no key %s\n", key.c_str());
    } else {
      status = then(loop, *setup.client, *pair);
    }
    worst = std::max(worst, status);
  }
  return worst;
}

/// Each server takes three descriptors; 1024, the usual soft limit, are there for the sake of select(), which is not
/// used here.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int Run(const ConfigSources& sources) {
  std::signal(SIGPIPE, SIG_IGN);
  RaiseDescriptorLimit();
  SystemdNotify systemd;
  EventLoop loop;
  const auto config = LoadConfig(sources);
  if (!config) return Fail(config.error());
  auto started = Bridge::Start(loop, *config);
  if (!started) return Fail(started.error());
  const std::unique_ptr<Bridge> bridge = *std::move(started);
  Log(LogLevel::kInfo, "", "redis-consul-agent " RCB_VERSION " started");

  loop.Every(Watcher::kTick, [&] {
    if (bridge->OnTick()) {
      Log(LogLevel::kInfo, "", "reloaded");
      systemd.Ready();
    }
    systemd.Status(bridge->Summary());
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
    const auto renewed = LoadConfig(sources);
    const auto reloaded = renewed ? bridge->Reload(*renewed) : tl::unexpected(renewed.error());
    if (reloaded) return;
    Log(LogLevel::kError, "", "not reloaded, the running settings stay: " + reloaded.error());
    systemd.Ready();
  });
  systemd.Ready();
  loop.Run();
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

int Deregister(const ConfigSources& sources, Output output) {
  EventLoop loop;
  const auto setup = Prepare(loop, sources);
  if (!setup) return Fail(setup.error());
  std::vector<std::string> ids;
  const auto groups = GroupsAskedFor(setup->config);
  if (!groups) return Fail(groups.error());
  for (const Config& group : *groups) {
    const std::vector<std::string> those = Watcher::ServiceIds(group);
    ids.insert(ids.end(), those.begin(), those.end());
  }
  if (IsRunning(loop, setup->config, ids)) {
    Fail("the agent still runs and would register again: stop it first, then try again");
    return kNotDone;
  }
  int status = 0;
  std::string lines;
  nlohmann::ordered_json all = {{"gone", nlohmann::json::array()}, {"refused", nlohmann::json::array()}};
  for (const std::string& id : ids) {
    const auto result = Await<consul::Result<void>>(
        loop, [&](auto handler) { setup->client->DeregisterService(id, std::move(handler)); });
    // Consul 1.8.7 without ACLs says nothing of an ID that it does not know.
    if (result || result.error().kind == consul::ErrorKind::kNotFound) {
      lines += (lines.empty() ? "" : "\n") + (result ? "deregistered " + id : id + " was not registered");
      all["gone"].push_back(id);
    } else {
      Fail(result.error().message);
      status = kNotDone;
      all["refused"].push_back({{"id", id}, {"why", result.error().message}});
    }
  }
  int printed = 0;
  if (output == Output::kJson) {
    printed = Print(all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else if (!lines.empty()) {
    printed = Print(lines);
  }
  return std::max(status, printed);
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
  std::vector<Finding> findings;
  const auto groups = GroupsAskedFor(*config);
  if (!groups) return Fail(groups.error());
  for (const Config& group : *groups) {
    for (Finding& finding : Examine(loop, group, server)) {
      // What groups share is told once.
      if (std::find(findings.begin(), findings.end(), finding) == findings.end())
        findings.push_back(std::move(finding));
    }
  }
  const int printed = Print(output == Output::kJson ? FindingsJson(findings) : FindingsText(findings, WantsColours()));
  return printed == 0 && HasFault(findings) ? kNotDone : printed;
}

int ShowClaim(const ConfigSources& sources) {
  EventLoop loop;
  const auto setup = Prepare(loop, sources);
  if (!setup) return Fail(setup.error());
  return WithClaims(loop, *setup, [](EventLoop&, consul::Client&, const consul::KvPair& pair) {
    const auto claim = DecodeClaim(pair.value);
    if (!claim) return Fail("the key " + pair.key + " holds no claim: " + claim.error().message);
    return Print(EncodeClaim(*claim));
  });
}

int ReleaseClaim(const ConfigSources& sources) {
  EventLoop loop;
  const auto setup = Prepare(loop, sources);
  if (!setup) return Fail(setup.error());
  if (setup->config.groups.size() > 1) {
    return Fail("there are " + std::to_string(setup->config.groups.size()) +
                " groups: name the one whose claim is to be released by --service");
  }
  return WithClaims(loop, *setup, [](EventLoop& running, consul::Client& client, const consul::KvPair& pair) {
    const auto deleted = Await<consul::Result<void>>(
        running, [&](auto handler) { client.KvDelete(pair.key, pair.modify_index, std::move(handler)); });
    if (!deleted) return Fail(deleted.error().message);
    const auto claim = DecodeClaim(pair.value);
    std::printf("released %s%s\n", pair.key.c_str(),
                claim ? (", held by " + HolderName(*claim) + " at epoch " + std::to_string(claim->epoch)).c_str() : "");
    return 0;
  });
}

}  // namespace rcb::agent
