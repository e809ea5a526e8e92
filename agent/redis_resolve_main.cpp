// redis-resolve: prints the address of a Redis service that is published in Consul DNS, or runs a command with it.

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "agent/resolve_options.h"
#include "consul/resolve_command.h"
#include "consul/resolve_format.h"
#include "consul/resolve_watch.h"
#include "consul/resolver.h"
#include "redis/role_question.h"
#include "redis/tls.h"

namespace rcb::agent {
namespace {

using consul::Addresses;
using consul::Refusal;
using consul::Resolver;
using consul::Role;
using consul::ServiceAddress;
using std::chrono::milliseconds;

int Complain(int code, const std::string& message) {
  std::fprintf(stderr, "redis-resolve: %s\n", message.c_str());
  return code;
}

int Complain(const Refusal& refusal) { return Complain(refusal.code, refusal.message); }

std::uint32_t Draw(std::uint32_t max) {
  static std::random_device source;
  return std::uniform_int_distribution<std::uint32_t>(0, max)(source);
}

/// The login for --verify: the first line of the password file, else REDISCLI_AUTH as redis-cli has it.
tl::expected<redis::Credentials, Refusal> Login(const ResolveOptions& options) {
  redis::Credentials login{.user = options.user, .password = ""};
  if (!options.password_file.empty()) {
    std::ifstream file(options.password_file);
    if (!std::getline(file, login.password) || login.password.empty()) {
      return tl::unexpected(Refusal{consul::kUsage, "no password in the first line of " + options.password_file +
                                                        ": is the file there, and may this user read it?"});
    }
    if (login.password.back() == '\r') login.password.pop_back();
  } else if (const char* const password = std::getenv("REDISCLI_AUTH"); password != nullptr) {
    login.password = password;
  }
  return login;
}

std::string Remedy(redis::ErrorKind kind) {
  switch (kind) {
    case redis::ErrorKind::kAuthentication: return " (--user, --password-file or REDISCLI_AUTH)";
    case redis::ErrorKind::kTls: return " (--tls, --cacert, --cert, --sni)";
    case redis::ErrorKind::kPermission: return " (the ACL user needs +role)";
    default: return "";
  }
}

/// What --verify asks of a server.
Resolver::Check RoleCheck(const ResolveOptions& options, const redis::Credentials& login,
                          const std::shared_ptr<redis::TlsClient>& tls) {
  const std::string wanted = options.name.role == Role::kAny ? "server" : std::string(ToString(options.name.role));
  return [role = options.name.role, wanted, timeout = options.timeout, login,
          tls](const ServiceAddress& address) -> std::optional<std::string> {
    const redis::Endpoint endpoint{.host = address.host, .port = address.port, .unix_path = ""};
    const auto said = redis::AskRole(endpoint, login, tls.get(), timeout);
    if (!said) return "not verified: " + said.error().message + Remedy(said.error().kind);
    const bool is_right = (role != Role::kReplica && *said == "master") || (role != Role::kMaster && *said == "slave");
    if (is_right) return std::nullopt;
    return "not verified: DNS has " + consul::HostPort(address) + " as a " + wanted + ", it says itself that it is a " +
           (*said == "slave" ? "replica" : *said);
  };
}

class Program {
 public:
  Program(ResolveOptions options, Resolver resolver, Resolver::Check check)
      : options_(std::move(options)), resolver_(std::move(resolver)), check_(std::move(check)) {}

  int Run() { return options_.watch ? Watch() : Once(); }

 private:
  /// Finds, waiting for it as long as was asked for, and hands out.
  int Once() {
    const consul::TimePoint deadline = std::chrono::steady_clock::now() + options_.wait;
    milliseconds patience = options_.wait.count() == 0 ? options_.timeout : std::min(options_.wait, options_.timeout);
    consul::PollPause pause;
    for (;;) {
      auto found = resolver_.LookUp(patience);
      if (found) found = Confirm(*found);
      if (found) return HandOut(*found);
      std::this_thread::sleep_until(
          std::min(deadline, std::chrono::steady_clock::now() + pause.Next(HasFailed(found.error()), Draw)));
      const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
      if (found.error().code == consul::kUsage || left.count() <= 0) return Complain(found.error());
      patience = std::min(left, options_.timeout);
    }
  }

  /// Hands out at every change; ends only when that is impossible.
  int Watch() {
    Addresses told;
    std::string complaint;
    consul::PollPause pause;
    for (;;) {
      auto found = resolver_.LookUp(options_.timeout);
      if (!found || !consul::IsKnown(told, *found, options_.all)) {
        if (found) found = Confirm(*found);
        if (found && !consul::IsKnown(told, *found, options_.all)) {
          told = *found;
          if (const int code = HandOut(told); code != consul::kFound) return code;
        }
      }
      if (!found && found.error().code == consul::kUsage) return Complain(found.error());
      if (!found && found.error().message != complaint) Complain(found.error());
      complaint = found ? "" : found.error().message;
      std::this_thread::sleep_for(pause.Next(!found && HasFailed(found.error()), Draw));
    }
  }

  tl::expected<Addresses, Refusal> Confirm(const Addresses& found) {
    if (auto heeded = resolver_.CheckTagsAreHeeded(); !heeded) return tl::unexpected(heeded.error());
    return resolver_.Choose(found, check_);
  }

  static bool HasFailed(const Refusal& refusal) {
    return refusal.code == consul::kDnsFailed || refusal.code == consul::kUnverified;
  }

  /// Prints `found` or gives it to the command. Anything but kFound is what to leave with.
  int HandOut(const Addresses& found) {
    if (options_.command.empty()) {
      const std::string text = consul::FormatAddresses(
          found, options_.format, {.as_list = options_.all, .tls = options_.tls, .one_line = options_.watch});
      if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return consul::kFound;
      return Complain(consul::kDnsFailed, std::string("cannot write to the standard output: ") + std::strerror(errno));
    }
    consul::SetEnvironment(found.front(), options_.tls);
    const std::vector<std::string> arguments =
        consul::FillIn(options_.command, found.front(), options_.format, options_.tls);
    if (!options_.watch) {
      const consul::CommandFailure failure = consul::Become(arguments);
      return Complain(failure.status, failure.message);
    }
    const auto status = consul::RunToEnd(arguments);
    if (!status) return Complain(status.error().status, status.error().message);
    if (*status != 0) {
      Complain(*status, arguments.front() + " ended with exit status " + std::to_string(*status) +
                            "; it is run again at the next change");
    }
    return consul::kFound;
  }

  const ResolveOptions options_;
  Resolver resolver_;
  const Resolver::Check check_;
};

int Run(const ResolveOptions& options) {
  auto resolver = Resolver::Create({.name = options.name,
                                    .all = options.all,
                                    .candidates = options.watch || options.verify,
                                    .dns = options.dns,
                                    .timeout = options.timeout,
                                    .draw = Draw});
  if (!resolver) return Complain(resolver.error());
  Resolver::Check check;
  if (options.verify) {
    const auto login = Login(options);
    if (!login) return Complain(login.error());
    std::shared_ptr<redis::TlsClient> tls;
    if (options.tls) {
      auto made = redis::TlsClient::Create({.ca_file = options.ca_file,
                                            .client_cert = options.cert_file,
                                            .client_key = options.key_file,
                                            .server_name = options.server_name,
                                            .verify = !options.insecure});
      if (!made) return Complain(consul::kUsage, made.error().message);
      tls = *std::move(made);
    }
    check = RoleCheck(options, *login, tls);
  }
  return Program(options, *std::move(resolver), std::move(check)).Run();
}

}  // namespace
}  // namespace rcb::agent

int main(int argc, char** argv) {
  using rcb::agent::EarlyExit;
  const auto parsed = rcb::agent::ParseResolveOptions(argc, argv);
  if (const auto* exit = std::get_if<EarlyExit>(&parsed)) {
    std::fputs(exit->text.c_str(), exit->exit_code == 0 ? stdout : stderr);
    return exit->exit_code;
  }
  return rcb::agent::Run(std::get<rcb::agent::ResolveOptions>(parsed));
}
