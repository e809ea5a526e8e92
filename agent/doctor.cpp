#include "agent/doctor.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include <arpa/inet.h>

#include "agent/await.h"
#include "agent/claim.h"
#include "agent/shard.h"
#include "consul/dns_client.h"
#include "consul/http_transport.h"
#include "consul/json_codec.h"
#include "redis/cluster_info.h"
#include "redis/loop_timer.h"
#include "redis/replication_info.h"
#include "redis/sentinel_view.h"

namespace rcb::agent {
namespace {

using Grade = Finding::Grade;
using Json = nlohmann::json;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{3000};
/// A Sentinel says hello every 2 s.
constexpr milliseconds kListenForHello{3000};
/// More does nobody run; forged hellos must not make us ask for ever.
constexpr std::size_t kMaxSentinels = 16;
/// No key has it: ModifyIndex counts Raft entries.
constexpr std::uint64_t kImpossibleIndex = 9000000000000000000U;
/// No registration of this bridge has it.
constexpr char kTagOfNobody[] = "redis-consul-agent-doctor.";
/// DNS answers that are older may name a master that was superseded.
constexpr milliseconds kMaxStale{10000};

/// "87600h0m0s", "1.5s", "500ms", as Go prints durations. Nothing for any other text.
std::optional<milliseconds> ParseGoDuration(const std::string& text) {
  double total = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t unit = text.find_first_not_of("0123456789.", at);
    if (unit == std::string::npos || unit == at || unit - at > 15) return std::nullopt;
    const std::size_t end = std::min(text.find_first_of("0123456789.", unit), text.size());
    const std::string name = text.substr(unit, end - unit);
    const double scale = name == "h" ? 3600000 : name == "m" ? 60000 : name == "s" ? 1000 : name == "ms" ? 1 : 0;
    total += std::strtod(text.substr(at, unit - at).c_str(), nullptr) * scale;
    at = end;
  }
  if (text.empty() || total > 1e15) return std::nullopt;
  return milliseconds(static_cast<std::int64_t>(total));
}

/// An IPv4 or IPv6 address, not a name.
bool IsAddress(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 || inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

class Examination {
 public:
  Examination(EventLoop& loop, const Config& config) : loop_(loop), config_(config) {}

  std::vector<Finding> Run(const std::optional<redis::Endpoint>& dns) {
    for (const redis::Endpoint& endpoint : config_.redis) ExamineRedis(endpoint);
    ExamineSentinels();
    ExamineConsul();
    ExamineDns(dns);
    return std::move(findings_);
  }

 private:
  void Add(Grade grade, std::string about, std::string said, std::string remedy = {}) {
    findings_.push_back({grade, std::move(about), std::move(said), std::move(remedy)});
  }

  // --- Redis and Sentinel -------------------------------------------------------------------------------------------

  /// One command on a connection of its own.
  redis::Result<redis::Reply> Ask(const redis::Endpoint& endpoint, const redis::Access& access,
                                  const std::vector<std::string>& command) {
    std::unique_ptr<redis::Connection> connection;
    return Await<redis::Result<redis::Reply>>(loop_, [&](const auto& answer) {
      connection = Open(endpoint, access,
                        {.on_open = nullptr,
                         .on_close = [answer](const redis::Error& error) { answer(tl::unexpected(error)); },
                         .on_message = nullptr});
      connection->Command(command, kPatience, [answer](const redis::Result<redis::Reply>& reply) {
        if (reply || reply.error().kind != redis::ErrorKind::kClosed) answer(reply);  // Else on_close tells why.
      });
    });
  }

  std::unique_ptr<redis::Connection> Open(const redis::Endpoint& endpoint, const redis::Access& access,
                                          redis::Connection::Handlers handlers) {
    redis::Connection::Options options;
    options.endpoint = endpoint;
    options.credentials = access.CurrentCredentials();
    options.tls = access.tls;
    options.connect_timeout = kPatience;
    auto connection = std::make_unique<redis::Connection>(loop_.handle(), std::move(options), std::move(handlers));
    connection->Open();
    return connection;
  }

  void ExamineRedis(const redis::Endpoint& endpoint) {
    const std::string about = "Redis " + endpoint.ToString();
    const auto server = Ask(endpoint, config_.RedisAccess(), {"INFO", "server"});
    if (!server) {
      Add(Grade::kFault, about, server.error().message, RedisRemedy(server.error().kind, endpoint));
      return;
    }
    const auto info = redis::ParseServerInfo(server->text);
    const auto reply = Ask(endpoint, config_.RedisAccess(), {"INFO", "replication"});
    const auto replication = reply ? redis::ParseReplicationInfo(reply->text) : tl::unexpected(reply.error());
    if (!info || !replication) {
      Add(Grade::kFault, about, (info ? replication.error() : info.error()).message,
          "Point the setting redis at a Redis server: " + endpoint.ToString() + " is none");
      return;
    }
    Add(Grade::kGood, about,
        "version " + info->redis_version + ", " +
            (replication->role == redis::Role::kMaster ? "master" : "replica of " + replication->master.ToString()));
    by_run_id_[info->run_id] = endpoint;
    if (info->mode == "cluster") {
      ExamineClusterNode(endpoint, about);
    } else {
      ListenForHello(endpoint, about);
    }
  }

  void ExamineClusterNode(const redis::Endpoint& endpoint, const std::string& about) {
    in_cluster_ = true;
    if (config_.authority && config_.authority != Authority::kCluster) {
      Add(Grade::kFault, about, "is a node of Redis Cluster", "Set authority to auto or cluster");
    }
    const auto info_reply = Ask(endpoint, config_.RedisAccess(), {"CLUSTER", "INFO"});
    const auto nodes_reply = Ask(endpoint, config_.RedisAccess(), {"CLUSTER", "NODES"});
    const auto info = info_reply ? redis::ParseClusterInfo(info_reply->text) : tl::unexpected(info_reply.error());
    const auto nodes = nodes_reply ? redis::ParseClusterNodes(nodes_reply->text) : tl::unexpected(nodes_reply.error());
    if (!info || !nodes) {
      Add(Grade::kFault, about,
          "does not tell its view of the cluster: " + (info ? nodes.error() : info.error()).message,
          "Give the ACL user at " + endpoint.ToString() +
              " what the README's \"Least permissions\" lists: +cluster|info +cluster|nodes");
      return;
    }
    if (!info->state_ok) {
      Add(Grade::kFault, about, "its cluster_state is fail",
          "See what redis-cli --cluster check " + endpoint.ToString() + " finds");
      return;
    }
    const auto shard = ShardOf(*nodes);
    Add(Grade::kGood, about,
        "node of Redis Cluster, cluster_state ok, " +
            (shard ? shard->name + " with slots " + shard->slots : std::string("without slots")));
  }

  static std::string RedisRemedy(redis::ErrorKind kind, const redis::Endpoint& endpoint) {
    switch (kind) {
      case redis::ErrorKind::kRefused:
        return "Start Redis at " + endpoint.ToString() + ", or set redis to where it listens";
      case redis::ErrorKind::kAuthentication:
        return "Set redis_password_file, and redis_user where it is not the default user, to what " +
               endpoint.ToString() + " takes";
      case redis::ErrorKind::kPermission:
        return "Give the ACL user at " + endpoint.ToString() +
               " what the README's \"Least permissions\" lists: +info +client|setname +subscribe &__sentinel__:hello";
      case redis::ErrorKind::kTls:
        return "Make the settings redis_tls and redis_ca_file fit the certificates of " + endpoint.ToString();
      case redis::ErrorKind::kUnresolvable: return "Set redis to a name that resolves on this host";
      default: return "See why " + endpoint.ToString() + " does not answer as a Redis server: try redis-cli ping";
    }
  }

  /// May the channel be listened to, and who is heard there? Where Sentinels are configured the first question is
  /// enough.
  void ListenForHello(const redis::Endpoint& endpoint, const std::string& about) {
    std::set<redis::Endpoint> heard;
    std::unique_ptr<redis::Connection> connection;
    const auto result = Await<redis::Result<void>>(loop_, [&](const auto& answer) {
      connection = Open(endpoint, config_.RedisAccess(),
                        {.on_open = nullptr,
                         .on_close = [answer](const redis::Error& error) { answer(tl::unexpected(error)); },
                         .on_message =
                             [&](const std::string&, const std::string& payload) {
                               const auto hello = redis::ParseSentinelHello(payload);
                               if (!hello || heard.size() >= kMaxSentinels) return;
                               heard.insert(hello->sentinel);
                               names_.insert(hello->view.master_name);
                             }});
      connection->Subscribe("__sentinel__:hello", false, [&, answer](const redis::Result<redis::Reply>& reply) {
        if (!reply) {
          if (reply.error().kind != redis::ErrorKind::kClosed) answer(tl::unexpected(reply.error()));
        } else if (!config_.sentinels.empty()) {
          answer({});
        } else {
          hello_timer_.Start(kListenForHello);
          on_listened_ = [answer] { answer({}); };
        }
      });
    });
    hello_timer_.Stop();
    if (!result) {
      Add(config_.sentinels.empty() ? Grade::kFault : Grade::kWarning, about,
          "Sentinels cannot be heard: " + result.error().message, RedisRemedy(redis::ErrorKind::kPermission, endpoint));
    }
    heard_.insert(heard.begin(), heard.end());
  }

  void ExamineSentinels() {
    if (in_cluster_) return;  // Redis Cluster does without.
    std::set<redis::Endpoint> sentinels(config_.sentinels.begin(), config_.sentinels.end());
    if (sentinels.empty()) sentinels = heard_;
    if (sentinels.empty()) {
      const bool wanted = config_.authority == Authority::kSentinel;
      Add(wanted ? Grade::kFault : Grade::kNote, "Sentinel",
          "none is configured, and none was heard on Redis in 3 s" +
              std::string(wanted ? "" : ": the authority is replication"),
          wanted ? "Start the Sentinels of this group, or set sentinels to where they listen" : "");
      return;
    }
    std::map<redis::Endpoint, std::size_t> masters;
    for (const redis::Endpoint& sentinel : sentinels) {
      if (const auto master = ExamineSentinel(sentinel)) ++masters[*master];
    }
    if (masters.size() > 1) {
      Add(Grade::kWarning, "Sentinel", "they name different masters",
          "Wait for the failover to end; if it does not, see SENTINEL MASTERS on each: they may monitor different "
          "groups "
          "under one name");
    }
  }

  /// The master that it names.
  std::optional<redis::Endpoint> ExamineSentinel(const redis::Endpoint& endpoint) {
    const std::string about = "Sentinel " + endpoint.ToString();
    const auto ask = [&](const std::vector<std::string>& command) {
      return Ask(endpoint, config_.SentinelAccess(), command);
    };
    std::string name = config_.master_name;
    if (name.empty() && names_.size() == 1) name = *names_.begin();
    if (name.empty()) {
      const auto masters = ask({"SENTINEL", "MASTERS"});
      if (!masters) {
        Add(Grade::kFault, about, masters.error().message,
            masters.error().kind == redis::ErrorKind::kReply
                ? "Set sentinels to where Sentinels listen (port 26379 by default): " + endpoint.ToString() + " is none"
                : SentinelRemedy(masters.error().kind, endpoint, name));
        return std::nullopt;
      }
      const std::vector<std::string> known = redis::ParseSentinelMasterNames(*masters);
      if (known.size() != 1) {
        Add(Grade::kFault, about, "monitors " + std::to_string(known.size()) + " groups",
            "Set master_name to the group of this Redis");
        return std::nullopt;
      }
      name = known.front();
    }
    const auto reply = ask({"SENTINEL", "MASTER", name});
    const auto address = ask({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", name});
    const auto view = !reply     ? tl::unexpected(reply.error())
                      : !address ? tl::unexpected(address.error())
                                 : redis::ParseSentinelMaster(endpoint.ToString(), *reply, *address);
    if (!view) {
      Add(Grade::kFault, about, view.error().message, SentinelRemedy(view.error().kind, endpoint, name));
      return std::nullopt;
    }
    if (!view->master_run_id.empty()) known_as_[view->master_run_id].insert(view->master);
    if (const auto replicas = ask({"SENTINEL", "SLAVES", name})) {
      for (const redis::SentinelInstance& replica : redis::ParseSentinelReplicas(*replicas)) {
        known_as_[replica.run_id].insert(replica.address);
      }
    }
    // Both are beyond the least permissions: whoever may not ask is not told.
    const auto info = ask({"INFO", "sentinel"});
    if (info && info->text.find("sentinel_tilt:1") != std::string::npos) {
      Add(Grade::kFault, about, "is in TILT: its clock jumped or it was starved, and it acts on nothing for 30 s",
          "Mend the clock or the load of " + endpoint.ToString() + ": it is in TILT");
    }
    const auto quorum = ask({"SENTINEL", "CKQUORUM", name});
    if (!quorum && quorum.error().message.find("NOQUORUM") != std::string::npos) {
      Add(Grade::kFault, about, quorum.error().message,
          "Start the Sentinels that are missing: no failover is possible without a majority");
    }
    Add(view->master_down ? Grade::kWarning : Grade::kGood, about,
        "names " + view->master.ToString() + " master of " + name + ", config-epoch " +
            std::to_string(view->config_epoch) + ", quorum " + std::to_string(view->quorum) + ", knows " +
            std::to_string(view->other_sentinels) + " others" + (view->master_down ? "; holds it for down" : ""));
    return view->master;
  }

  static std::string SentinelRemedy(redis::ErrorKind kind, const redis::Endpoint& endpoint, const std::string& name) {
    switch (kind) {
      case redis::ErrorKind::kAuthentication:
        return "Set sentinel_password_file, and sentinel_user where needed, to what " + endpoint.ToString() + " takes";
      case redis::ErrorKind::kPermission:
        return "Give the ACL user at " + endpoint.ToString() + " what the README's \"Least permissions\" lists";
      case redis::ErrorKind::kReply:
        return "Set master_name to a group that " + endpoint.ToString() + " monitors: \"" + name + "\" is none";
      default: return "Start the Sentinel at " + endpoint.ToString() + ", or take it out of sentinels";
    }
  }

  // --- Consul -------------------------------------------------------------------------------------------------------

  consul::Result<consul::HttpResponse> Fetch(const consul::HttpRequest& request) {
    return Await<consul::Result<consul::HttpResponse>>(loop_,
                                                       [&](const auto& answer) { transport_->Send(request, answer); });
  }
  consul::Result<consul::HttpResponse> Fetch(const std::string& path) {
    return Fetch(consul::HttpRequest{.method = "GET", .path = path, .body = {}, .timeout = kPatience});
  }

  void ExamineConsul() {
    const std::string about = "Consul " + config_.consul.url;
    auto transport = consul::HttpTransport::Create(loop_.handle(), config_.consul);
    if (!transport) {
      Add(Grade::kFault, about, transport.error().message, "Correct the setting that it names");
      return;
    }
    transport_ = *std::move(transport);
    const auto response = Fetch(consul::AgentSelfRequest());
    const auto self = response.and_then(consul::ParseAgentSelf);
    if (!self) {
      Add(Grade::kFault, about, self.error().message, ConsulRemedy(self.error().kind));
      return;
    }
    debug_ = Json::parse(response->body, nullptr, false).value("DebugConfig", Json::object());
    Add(Grade::kGood, about, "version " + self->version + ", node " + self->node + ", datacenter " + self->datacenter);
    ExamineServers(about);
    ExamineToken(*self);
    ExamineAddresses();
  }

  static std::string ConsulRemedy(consul::ErrorKind kind) {
    switch (kind) {
      case consul::ErrorKind::kUnreachable:
      case consul::ErrorKind::kTimeout: return "Start the Consul agent of this host, or set consul to where it listens";
      case consul::ErrorKind::kTls:
        return "Make consul_ca_file, consul_client_cert and consul_tls_server_name fit the certificates of Consul";
      case consul::ErrorKind::kDenied:
        return "Set consul_token_file to a token that Consul knows, with the policy "
               "/usr/share/redis-consul-bridge/consul/policy.hcl";
      case consul::ErrorKind::kNoLeader:
        return "Bring Consul's servers back: without a leader nothing can be published (consul operator raft "
               "list-peers)";
      default: return "Set consul to the HTTP address of a Consul agent";
    }
  }

  /// Behind NAT, or in a container, Sentinel has the address that Redis announces (replica-announce-ip and -port),
  /// which the agent does not see.
  void ExamineAddresses() {
    if (config_.advertise && config_.advertise->port != 0) return;  // Said by whoever knows.
    for (const auto& [run_id, endpoint] : by_run_id_) {
      const auto known = known_as_.find(run_id);
      if (known == known_as_.end() || endpoint.is_unix()) continue;
      redis::Endpoint published = endpoint;
      published.host = config_.advertise ? config_.advertise->host : Setting("AdvertiseAddrLAN");
      if (published.host.empty()) continue;  // Consul does not tell.
      const auto differs = [&](const redis::Endpoint& theirs) { return Differs(theirs, published); };
      if (!std::all_of(known->second.begin(), known->second.end(), differs)) continue;
      const std::string theirs = known->second.begin()->ToString();
      Add(Grade::kWarning, "Redis " + endpoint.ToString(),
          "Sentinel knows it as " + theirs + ", and what is published is " + published.ToString(),
          "Set advertise of " + endpoint.ToString() + " to where clients reach it: " + theirs + ", or " +
              published.ToString() + " if that is right");
    }
  }

  /// True when clients that reach the one may not reach the other.
  bool Differs(const redis::Endpoint& theirs, const redis::Endpoint& published) const {
    if (theirs.port != published.port) return true;
    // A name may stand for any address, and another address of this host is as good.
    return !config_.advertise && IsAddress(theirs.host) && theirs.host != published.host &&
           std::find(own_addresses_.begin(), own_addresses_.end(), theirs.host) == own_addresses_.end();
  }

  void ExamineServers(const std::string& about) {
    const auto leader = Fetch("/v1/status/leader");
    const bool known = leader && leader->status == 200 && leader->body.size() > 2 && leader->body != "\"\"";
    if (!known) Add(Grade::kFault, about, "its servers have no leader", ConsulRemedy(consul::ErrorKind::kNoLeader));
  }

  void ExamineToken(const consul::AgentSelf& self) {
    const std::string about = "Consul token";
    const std::string key = ClaimKey(config_.service);
    const std::string policy = "Give the Consul token the policy /usr/share/redis-consul-bridge/consul/policy.hcl: ";
    const std::string key_rule = "key_prefix \"service/" + config_.service + "/\" write";
    const std::size_t before = findings_.size();
    const auto pair = Fetch(consul::KvGetRequest(key, 0, {})).and_then([&key](const consul::HttpResponse& response) {
      return consul::ParseKvGet(key, response);
    });
    if (!pair && pair.error().kind == consul::ErrorKind::kDenied) {
      Add(Grade::kFault, about, "may not read " + key + ": " + pair.error().message, policy + key_rule);
    }
    for (const std::string& name : std::set<std::string>{config_.master_service, config_.replica_service}) {
      const auto written = Fetch(consul::TxnRequest(Probe(self.node, key, name))).and_then(consul::ParseTxn);
      if (!written && written.error().kind == consul::ErrorKind::kDenied) {
        Add(Grade::kFault, about, "may not publish " + name + ": " + written.error().message,
            std::string(policy).append(key_rule).append(", service \"").append(name).append("\" write"));
      } else if (!written && written.error().kind == consul::ErrorKind::kNoLeader) {
        return;  // Said already.
      } else if (!written && written.error().kind != consul::ErrorKind::kConflict) {
        Add(Grade::kFault, about, written.error().message, ConsulRemedy(written.error().kind));
      }
    }
    const auto node = Fetch("/v1/catalog/node/" + self.node);
    if (!node || node->status != 200 || node->body.substr(0, 4) == "null") {
      Add(Grade::kFault, about, "may not read the node " + self.node + ": what is published cannot be read back",
          policy + "node_prefix \"\" read");
    }
    if (findings_.size() == before) Add(Grade::kGood, about, "may do all that is needed");
    if (pair) ExamineClaim(*pair);
  }

  /// Refused for sure: the claim is named at an index that it cannot have.
  static std::vector<consul::TxnOperation> Probe(const std::string& node, const std::string& key,
                                                 const std::string& service) {
    consul::ServiceEntry entry;
    entry.node = node;
    entry.id = service + "-doctor";
    entry.name = service;
    entry.raw_service = Json{{"ID", entry.id}, {"Service", service}}.dump();
    return {consul::TxnKvCas{key, {}, kImpossibleIndex}, consul::TxnServiceSet{std::move(entry), {}, {}, 0}};
  }

  void ExamineClaim(const consul::KvPair& pair) {
    if (in_cluster_) return;  // Redis Cluster needs none.
    const std::string about = "Claim of " + config_.service;
    if (pair.modify_index == 0) {
      Add(Grade::kNote, about, "nobody holds it yet");
      return;
    }
    const auto claim = DecodeClaim(pair.value);
    if (claim) {
      Add(Grade::kGood, about,
          (claim->state == Claim::State::kHeld ? "held by " : "given up by ") + HolderName(*claim) + ", epoch " +
              std::to_string(claim->epoch));
    } else {
      Add(Grade::kWarning, about, pair.key + " holds no claim: " + claim.error().message,
          "See what writes to the key " + pair.key);
    }
  }

  // --- DNS ----------------------------------------------------------------------------------------------------------

  std::optional<redis::Endpoint> DnsOfConsul() const {
    const auto addresses = debug_.find("DNSAddrs");
    if (addresses == debug_.end() || !addresses->is_array()) return std::nullopt;
    for (const Json& address : *addresses) {
      const std::string text = address.is_string() ? address.get<std::string>() : "";
      if (!text.starts_with("udp://")) continue;
      auto endpoint = redis::ParseEndpoint(text.substr(6), 0);
      if (!endpoint) continue;
      if (endpoint->host == "0.0.0.0") endpoint->host = "127.0.0.1";
      if (endpoint->host == "::") endpoint->host = "::1";
      return *endpoint;
    }
    return std::nullopt;
  }

  void ExamineDns(const std::optional<redis::Endpoint>& given) {
    if (!given && debug_.is_null()) return;  // Without Consul there is no DNS of it: said already.
    const redis::Endpoint server =
        given.value_or(DnsOfConsul().value_or(redis::Endpoint{.host = "127.0.0.1", .port = 8600, .unix_path = {}}));
    const std::string about = "DNS " + server.ToString();
    const auto client = consul::DnsClient::Create({.host = server.host, .port = server.port});
    std::string domain = Setting("DNSDomain");
    if (!domain.empty() && domain.back() == '.') domain.pop_back();
    if (domain.empty()) domain = "consul";
    const auto count = [&](const std::string& name) -> consul::Result<std::size_t> {
      if (!client) return tl::unexpected(client.error());
      const std::string full = name + ".service." + domain;
      const auto answer = (*client)->Ask(full, consul::RecordType::kSrv, kPatience);
      if (!answer) return tl::unexpected(answer.error());
      return answer->SrvRecordsOf(full).size();
    };
    const auto masters = count("master." + config_.master_service);
    if (!masters) {
      Add(Grade::kFault, about, masters.error().message,
          "Let Consul's DNS answer at " + server.ToString() + " (ports.dns, client_addr), or name it by --dns");
      return;
    }
    const std::string name = "master." + config_.master_service + ".service." + domain;
    const bool right = *masters == 1 || (in_cluster_ && *masters > 1);  // One for each shard.
    Add(right           ? Grade::kGood
        : *masters == 0 ? Grade::kNote
                        : Grade::kFault,
        about, name + " has " + std::to_string(*masters) + (*masters == 1 ? " answer" : " answers"),
        right ? ""
        : *masters > 1
            ? "See who else registers " + config_.master_service + " with the tag master"
            : "Run an agent beside every Redis; where it runs, redis-consul-agent explain tells why nobody is "
              "published as master");
    // Consul's own service is always there to ask about.
    for (const std::string& service : {config_.master_service, std::string("consul")}) {
      const auto all = count(service);
      if (!all || *all == 0) continue;
      const auto tagged = count(kTagOfNobody + service);
      if (tagged && *tagged > 0) {
        Add(Grade::kFault, about, "ignores the tag in a name and answers with everybody",
            "Upgrade Consul: 1.19.0 ignores tags in DNS. Until then set replica_service, and ask for the name alone");
      }
      break;
    }
    ExamineStaleness(about);
  }

  void ExamineStaleness(const std::string& about) {
    const std::string max_stale = Setting("DNSMaxStale");
    const auto stale = ParseGoDuration(max_stale);
    const auto allowed = debug_.find("DNSAllowStale");
    const bool allows = allowed != debug_.end() && allowed->is_boolean() && allowed->get<bool>();
    if (allows && stale && *stale > kMaxStale) {
      Add(Grade::kWarning, about, "may answer from the past: dns_config.max_stale is " + max_stale,
          "Set dns_config.max_stale of every Consul agent to 1s, or allow_stale to false");
    }
    const auto ttl = debug_.find("DNSServiceTTL");
    if (ttl != debug_.end() && ttl->is_object() && !ttl->empty()) {
      Add(Grade::kWarning, about, "dns_config.service_ttl lets resolvers keep answers: " + ttl->dump(),
          "Set dns_config.service_ttl to 0 for " + config_.master_service);
    }
  }

  /// A text among the Consul agent's own settings; empty: not told.
  std::string Setting(const char* key) const {
    const auto found = debug_.find(key);
    return found != debug_.end() && found->is_string() ? found->get<std::string>() : std::string();
  }

  EventLoop& loop_;
  const Config& config_;
  std::vector<Finding> findings_;
  std::set<redis::Endpoint> heard_;                            ///< Sentinels, on Redis.
  bool in_cluster_ = false;                                    ///< A node of Redis Cluster is among the servers.
  std::set<std::string> names_;                                ///< Of groups, in hellos.
  std::map<std::string, redis::Endpoint> by_run_id_;           ///< The servers, as they are configured.
  std::map<std::string, std::set<redis::Endpoint>> known_as_;  ///< By run id, what Sentinels call them.
  const std::vector<std::string> own_addresses_ = HostAddresses();
  std::function<void()> on_listened_;
  redis::LoopTimer hello_timer_{loop_.handle(), [this] { on_listened_(); }};
  std::unique_ptr<consul::HttpTransport> transport_;
  Json debug_;  ///< The Consul agent's settings; null: it does not answer.
};

}  // namespace

std::vector<Finding> Examine(EventLoop& loop, const Config& config, const std::optional<redis::Endpoint>& dns) {
  return Examination(loop, config).Run(dns);
}

}  // namespace rcb::agent
