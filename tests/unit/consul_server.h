#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "consul/client.h"
#include "tests/unit/consul_loop.h"

namespace rcb::consul {

inline bool IsFree(int port) {
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
inline int PickPorts(int count) {
  static std::minstd_rand random(std::random_device{}());
  while (true) {
    const int first = std::uniform_int_distribution<int>(22000, 22980)(random);
    int free = 0;
    while (free < count && IsFree(first + free)) ++free;
    if (free == count) return first;
  }
}

inline std::string FindConsul() {
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

inline pid_t Spawn(const std::vector<std::string>& arguments, const TempDir& dir) {
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

inline void RunTool(const std::vector<std::string>& arguments, const TempDir& dir) {
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
      loop.RunUntil([] { return false; }, std::chrono::milliseconds(20));
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
inline ConsulServer& SharedServer(Loop& loop) {
  static const TempDir socket_dir;
  static ConsulServer server(R"(,"addresses":{"http":"127.0.0.1 unix://)" + (socket_dir / "http.sock") + R"("})");
  server.WaitUntilReady(loop);
  return server;
}

inline std::unique_ptr<Client> Connect(Loop& loop, const HttpTransport::Options& options) {
  auto client = Client::Create(loop.get(), options);
  REQUIRE(client);
  return std::move(*client);
}

}  // namespace rcb::consul
