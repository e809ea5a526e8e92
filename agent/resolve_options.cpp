#include "agent/resolve_options.h"

#include <arpa/inet.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace rcb::agent {
namespace {

using consul::DnsClient;
using consul::Format;
using consul::Role;
using std::chrono::milliseconds;

constexpr int kUsageError = 2;
constexpr std::uint16_t kConsulDnsPort = 8600;
constexpr milliseconds kMaxDuration{24 * 3'600'000};

constexpr const char* kFooter = R"help(COMMAND gets -h HOST -p PORT (or what --format says) in place of {}, else at its
end (redis-cli: in front); {host} and {port} are replaced as well. Options with
a value have a variable each: REDIS_RESOLVE_DNS, REDIS_RESOLVE_ROLE, ...

Examples:
  redis-resolve -- redis-cli info replication
  redis-resolve sessions --role replica --all --dc east
  redis-resolve --watch -- logger "the master is {host}:{port}")help";

/// Takes "HOST:PORT", "HOST", "[v6]:PORT", "[v6]", a bare IPv6 address or "system". Returns what is wrong, or "".
std::string ReadServer(std::string_view text, DnsClient::Options& dns) {
  std::string wrong = "'" + std::string(text) + "' is no DNS server: HOST:PORT, [IPV6]:PORT or 'system'";
  if (text == "system") {
    dns.host.clear();
    return "";
  }
  std::string_view host = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return wrong;
    host = text.substr(1, bracket - 1);
    port = text.substr(bracket + 1);
    if (!port.empty() && !port.starts_with(':')) return wrong;
  } else if (const std::size_t colon = text.find(':'); colon == text.rfind(':') && colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon);
  }
  std::uint16_t number = kConsulDnsPort;
  if (!port.empty()) {
    const auto [end, error] = std::from_chars(port.data() + 1, port.data() + port.size(), number);
    if (error != std::errc() || end != port.data() + port.size() || number == 0) return wrong;
  }
  dns.host = host;
  in6_addr ipv6{};
  const bool has_colon = host.find(':') != std::string_view::npos;
  if (host.empty() || (has_colon && inet_pton(AF_INET6, dns.host.c_str(), &ipv6) != 1)) return wrong;
  dns.port = number;
  return "";
}

/// Takes servers with commas between them and adds them to `servers`.
std::string ReadServers(std::string_view text, std::vector<DnsClient::Options>& servers) {
  for (;;) {
    const std::size_t comma = text.find(',');
    if (std::string wrong = ReadServer(text.substr(0, comma), servers.emplace_back()); !wrong.empty()) return wrong;
    if (comma == std::string_view::npos) return "";
    text.remove_prefix(comma + 1);
  }
}

/// Takes "500ms", "2s", "1.5", "1m", "1h"; a bare number counts seconds. Returns what is wrong, or "".
std::string ReadDuration(std::string_view text, milliseconds& duration) {
  static const std::map<std::string_view, double> kUnits{
      {"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto unit = kUnits.find(text.substr(static_cast<std::size_t>(end - text.data())));
  const double count = unit == kUnits.end() ? 0 : number * unit->second;
  const bool fits = count >= 1 && count <= static_cast<double>(kMaxDuration.count());
  if (error != std::errc() || !fits) {
    return "'" + std::string(text) + "' is no duration from 1ms to 24h: 500ms, 2s, 1m";
  }
  duration = milliseconds(static_cast<milliseconds::rep>(count));
  return "";
}

std::string ReadText(std::string_view text, std::string& target) {
  target = text;
  return "";
}

/// Reads one of `values` by its name.
template <typename T>
auto Choice(std::map<std::string_view, T> values) {
  return [values = std::move(values)](std::string_view text, T& target) -> std::string {
    const auto found = values.find(text);
    if (found == values.end()) {
      std::string names;
      for (const auto& [name, value] : values) names.append(names.empty() ? "" : ", ").append(name);
      return "'" + std::string(text) + "' is not one of " + names;
    }
    target = found->second;
    return "";
  };
}

/// The options that have a value, each of which the environment may have instead.
class Settings {
 public:
  explicit Settings(CLI::App& app) : app_(app) {}

  /// `read(text, target)` returns what is wrong with the text, or "".
  template <typename T, typename Read>
  CLI::Option* Add(const std::string& flag, T& target, Read read, const std::string& type, const std::string& help) {
    const auto take = [&target, read](const std::string& text) { return read(text, target); };
    const auto take_or_throw = [take](const std::vector<std::string>& texts) {
      for (const std::string& text : texts) {
        if (const std::string wrong = take(text); !wrong.empty()) throw CLI::ValidationError(wrong);
      }
    };
    auto* const option = app_.add_option_function<std::vector<std::string>>(flag, take_or_throw, help);
    option->type_name(type)->expected(1)->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    settings_.push_back({option, VariableOf(flag), take});
    return option;
  }

  /// Takes what was not given on the command line from the environment; an empty variable is none.
  void ReadEnvironment() const {
    for (const Setting& setting : settings_) {
      const char* const text = std::getenv(setting.variable.c_str());
      if (setting.option->count() > 0 || text == nullptr || *text == '\0') continue;
      if (const std::string wrong = setting.take(text); !wrong.empty()) {
        throw CLI::ValidationError(setting.variable, wrong);
      }
    }
  }

 private:
  struct Setting {
    CLI::Option* option;
    std::string variable;
    std::function<std::string(const std::string&)> take;
  };

  /// "--password-file": "REDIS_RESOLVE_PASSWORD_FILE".
  static std::string VariableOf(const std::string& flag) {
    std::string variable = "REDIS_RESOLVE_";
    for (const char c : flag.substr(2)) variable += c == '-' ? '_' : static_cast<char>(c - 'a' + 'A');
    return variable;
  }

  CLI::App& app_;
  std::vector<Setting> settings_;
};

/// One option to a line, in a width that leaves room for what it says.
class Formatter : public CLI::Formatter {
 public:
  Formatter() { column_width(28); }
  std::string make_usage(const CLI::App* /*app*/, std::string /*name*/) const override {
    return "Usage: redis-resolve [OPTIONS] [SERVICE] [-- COMMAND...]\n";
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    return option->get_type_name().empty() ? "" : " " + option->get_type_name();
  }
};

/// Options that stand on the command line itself. The environment's are defaults, which contradict nothing.
struct Given {
  bool dc = false;
  bool domain = false;
  bool login = false;
  bool tls = false;  ///< What is about certificates.
};

/// What cannot be meant together. Returns what is wrong, or "".
std::string Contradiction(const ResolveOptions& options, const Given& given) {
  if (options.name.is_full_name() && (given.domain || given.dc)) {
    return "'" + options.name.service +
           "' is a full name (it has a dot), asked for as it is: " + (given.domain ? "--domain" : "--dc") +
           " has no meaning with it";
  }
  if (options.watch && options.wait.count() != 0) return "--watch waits for ever: leave --wait away";
  if (options.all && !options.command.empty()) return "--all finds several and COMMAND gets one: leave --all away";
  if (options.all && options.format == Format::kEnv) return "--format env is for one address: leave --all away";
  if (!options.verify && given.login) {
    return "--user and --password-file are for --verify, which is missing";
  }
  if (given.tls && !(options.verify && options.tls)) {
    return "--cacert, --cert, --key, --sni and --insecure are for --verify with --tls, which is missing";
  }
  if (options.cert_file.empty() != options.key_file.empty()) return "--cert and --key need each other";
  return "";
}

}  // namespace

std::variant<ResolveOptions, EarlyExit> ParseResolveOptions(int argc, const char* const* argv) {
  // CLI11 would take what stands behind "--" for further services.
  const char* const* const end = argv + argc;
  const char* const* const separator = std::find(argv + 1, end, std::string_view("--"));

  ResolveOptions options;
  std::optional<Format> format;
  CLI::App app("Prints where a Redis service published in Consul DNS can be dialled.", "redis-resolve");
  app.formatter(std::make_shared<Formatter>());
  app.footer(kFooter);
  app.set_version_flag("--version", "redis-resolve " RCB_VERSION, "Print the version and exit");
  app.set_help_flag("-h,--help", "Print this help and exit");

  app.add_option("SERVICE", options.name.service, "Name in Consul or full DNS name (default: redis)")->type_name("");
  Settings settings(app);
  settings.Add("--role", options.name.role,
               Choice<Role>({{"master", Role::kMaster}, {"replica", Role::kReplica}, {"any", Role::kAny}}), "ROLE",
               "master (default), replica or any");
  app.add_flag("--all", options.all, "Print every address, not one");
  const auto* const dc =
      settings.Add("--dc", options.name.datacenter, ReadText, "DC", "Consul datacenter (default: the agent's)");
  const auto* const domain =
      settings.Add("--domain", options.name.domain, ReadText, "NAME", "Consul's DNS domain (default: consul)");
  settings.Add("--dns", options.dns, ReadServers, "HOST:PORT,...",
               "DNS servers, tried in order; 'system': the host's\n(default: 127.0.0.1:8600)");
  settings.Add("--format", format,
               Choice<std::optional<Format>>({{"hostport", Format::kHostPort},
                                              {"url", Format::kUrl},
                                              {"json", Format::kJson},
                                              {"env", Format::kEnv},
                                              {"args", Format::kArgs},
                                              {"host", Format::kHost},
                                              {"port", Format::kPort}}),
               "FORMAT", "hostport (default), url, json, env, args, host, port");
  settings.Add("--timeout", options.timeout, ReadDuration, "DURATION", "Patience with each server (default: 2s)");
  settings.Add("--wait", options.wait, ReadDuration, "DURATION", "Wait so long until there is one");
  app.add_flag("--watch", options.watch, "Stay and print a line at every change");
  app.add_flag("--verify", options.verify, "Connect, ask ROLE, refuse who is not what DNS says");
  const auto* const user = settings.Add("--user", options.user, ReadText, "NAME", "ACL user for --verify");
  const auto* const password = settings.Add("--password-file", options.password_file, ReadText, "FILE",
                                            "Password for --verify (or REDISCLI_AUTH)");
  app.add_flag("--tls", options.tls, "The servers speak TLS: for --verify and --format url");
  std::vector<CLI::Option*> with_tls{
      settings.Add("--cacert", options.ca_file, ReadText, "FILE", "CA of the servers (default: the system's)"),
      settings.Add("--cert", options.cert_file, ReadText, "FILE", "Our certificate, for servers that want one"),
      settings.Add("--key", options.key_file, ReadText, "FILE", "Its key"),
      settings.Add("--sni", options.server_name, ReadText, "NAME", "Name in their certificates (default: the host)"),
      app.add_flag("--insecure", options.insecure, "Take any certificate")};

  try {
    app.parse(static_cast<int>(separator - argv), argv);
    settings.ReadEnvironment();
    if (separator != end) options.command.assign(separator + 1, end);
    if (separator != end && options.command.empty()) throw CLI::ValidationError("a command is missing behind --");
    if (options.dns.empty()) options.dns.push_back({.host = "127.0.0.1", .port = kConsulDnsPort, .tcp = false});
    options.format = format.value_or(options.command.empty() ? Format::kHostPort : Format::kArgs);
    const Given given{.dc = !dc->empty(),
                      .domain = !domain->empty(),
                      .login = !user->empty() || !password->empty(),
                      .tls = std::any_of(with_tls.begin(), with_tls.end(), [](const auto* o) { return !o->empty(); })};
    if (const std::string wrong = Contradiction(options, given); !wrong.empty()) throw CLI::ValidationError(wrong);
    if (options.name.is_full_name()) options.name.datacenter.clear();  // The environment's is for short names.
  } catch (const CLI::CallForHelp&) {
    return EarlyExit{0, app.help()};
  } catch (const CLI::CallForVersion&) {
    return EarlyExit{0, app.version() + "\n"};
  } catch (const CLI::ParseError& error) {
    return EarlyExit{kUsageError, "redis-resolve: " + std::string(error.what()) + " (see redis-resolve --help)\n"};
  }
  return options;
}

}  // namespace rcb::agent
