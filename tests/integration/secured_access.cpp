#include "tests/integration/secured_access.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

namespace rcb::integration {
namespace {

using Json = nlohmann::json;

constexpr char kAgentAtRedis[] = "secret-of-the-agent-at-redis";
constexpr char kAgentAtSentinel[] = "secret-of-the-agent-at-sentinel";
/// The hosts of a group.
constexpr char kServerNames[] =
    "IP:127.0.0.1,IP:127.0.0.2,IP:127.0.0.3,IP:127.0.0.4,IP:127.0.0.5,IP:127.0.0.6,DNS:localhost";

/// The README's line for an ACL user that has every one of `words` and none of `others`, with a real password.
std::string ShippedUser(const std::vector<std::string>& words, const std::vector<std::string>& others,
                        const std::string& password) {
  std::istringstream readme(ReadFile(RCB_PROJECT_DIR "/README.md"));
  for (std::string line; std::getline(readme, line);) {
    const auto has = [&line](const std::string& word) { return line.find(word) != std::string::npos; };
    if (!line.starts_with("user redis-consul-agent on >PASSWORD ")) continue;
    if (!std::all_of(words.begin(), words.end(), has) || std::any_of(others.begin(), others.end(), has)) continue;
    return line.replace(line.find("PASSWORD"), std::string("PASSWORD").size(), password) + "\n";
  }
  throw std::runtime_error("the README names no such ACL user");
}

}  // namespace

SecuredAccess::SecuredAccess(const TestFolder& folder, bool demotes)
    : folder_(folder.path().string()),
      ca_(folder, "authority"),
      server_(ca_.Issue("server", kServerNames)),
      agent_(ca_.Issue("agent", "DNS:agent")),
      demotes_(demotes) {
  WriteFile(folder.path() / "at-redis", std::string(kAgentAtRedis) + "\n");
  WriteFile(folder.path() / "at-sentinel", std::string(kAgentAtSentinel) + "\n");
}

std::string SecuredAccess::TlsLines(std::uint16_t port) const {
  return "tls-port " + std::to_string(port) + "\ntls-cert-file " + server_.file + "\ntls-key-file " + server_.key +
         "\ntls-ca-cert-file " + ca_.file() + "\ntls-auth-clients yes\ntls-replication yes\n";
}

std::string SecuredAccess::RedisLines(std::uint16_t port) const {
  // What Redis's documentation gives to replicas and Sentinels.
  return TlsLines(port) + "user replication on >" + operator_password() +
         " +psync +replconf +ping\nmasteruser replication\nuser sentinel on >" + sentinel_password() +
         " allchannels +multi +slaveof +ping +exec +subscribe +config|rewrite +role +publish "
         "+info +client|setname +client|kill +script|kill\n" +
         (demotes_ ? ShippedUser({"+info", "&__sentinel__:hello", "+replicaof"}, {}, kAgentAtRedis)
                   : ShippedUser({"+info", "&__sentinel__:hello"}, {"+replicaof"}, kAgentAtRedis));
}

std::string SecuredAccess::SentinelLines(std::uint16_t port) const {
  return TlsLines(port) + "sentinel auth-user mymaster sentinel\n" +
         ShippedUser({"+sentinel|master ", "+psubscribe"}, {}, kAgentAtSentinel);
}

std::string SecuredAccess::ConsulSettings(std::uint16_t https_port) const {
  return Json{{"ports", {{"https", https_port}}},
              {"verify_incoming_https", true},
              {"ca_file", ca_.file()},
              {"cert_file", server_.file},
              {"key_file", server_.key}}
      .dump();
}

void SecuredAccess::SetToken(const std::string& token) {
  token_ = token;
  WriteFile(folder_ + "/token", token + "\n");
}

std::string SecuredAccess::AgentSettings() const {
  return Json{{"redis_tls", true},
              {"redis_user", "redis-consul-agent"},
              {"redis_password_file", folder_ + "/at-redis"},
              {"redis_ca_file", ca_.file()},
              {"redis_client_cert", agent_.file},
              {"redis_client_key", agent_.key},
              {"sentinel_user", "redis-consul-agent"},
              {"sentinel_password_file", "at-sentinel"},  // A credential.
              {"consul_token_file", folder_ + "/token"},
              {"consul_ca_file", ca_.file()},
              {"consul_client_cert", agent_.file},
              {"consul_client_key", agent_.key}}
      .dump();
}

std::map<std::string, std::string> SecuredAccess::Environment() const {
  return {{"CREDENTIALS_DIRECTORY", folder_},
          {"CONSUL_HTTP_TOKEN_FILE", folder_ + "/token"},
          {"CONSUL_CACERT", ca_.file()},
          {"CONSUL_CLIENT_CERT", agent_.file},
          {"CONSUL_CLIENT_KEY", agent_.key}};
}

std::string SecuredAccess::ConsulPolicy() { return ReadFile(RCB_PROJECT_DIR "/packaging/consul/policy.hcl"); }

std::vector<std::string> SecuredAccess::Secrets() const { return {"secret-of-", token_}; }

bool IsSecuredByEnvironment() {
  const char* const access = std::getenv("RCB_ACCESS");
  if (access == nullptr || *access == '\0') return false;
  if (std::string(access) != "tls") throw std::runtime_error(std::string("RCB_ACCESS is \"") + access + "\", not tls");
  return true;
}

}  // namespace rcb::integration
