#include "consul/resolve_options.h"

#include <arpa/inet.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <map>
#include <string_view>

namespace rcb::consul {
namespace {

using std::chrono::milliseconds;

constexpr int kUsageError = 2;
constexpr std::uint16_t kConsulDnsPort = 8600;
constexpr milliseconds kMaxTimeout{3'600'000};

constexpr const char* kExamples = R"help(Examples:
  redis-cli -u "$(redis-resolve --format url)"
  redis-resolve sessions --role replica --all --dc east
  redis-resolve master.redis.service.consul --dns system)help";

/// Takes "HOST:PORT", "HOST", "[v6]:PORT", "[v6]", a bare IPv6 address or "system". Returns what is wrong, or "".
std::string ReadServer(std::string_view text, DnsClient::Options& dns) {
  std::string wrong =
      "'" + std::string(text) + "' is no DNS server: HOST:PORT, [IPV6]:PORT or 'system' (--dns, REDIS_RESOLVE_DNS)";
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

/// Takes "500ms", "2s", "1.5", "1m"; a bare number counts seconds. Returns what is wrong, or "".
std::string ReadDuration(std::string_view text, milliseconds& duration) {
  static const std::map<std::string_view, double> kUnits{{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}};
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto unit = kUnits.find(text.substr(static_cast<std::size_t>(end - text.data())));
  const double count = unit == kUnits.end() ? 0 : number * unit->second;
  const bool fits = count >= 1 && count <= static_cast<double>(kMaxTimeout.count());
  if (error != std::errc() || !fits) {
    return "'" + std::string(text) + "' is no duration from 1ms to 60m: 500ms, 2s, 1m";
  }
  duration = milliseconds(static_cast<milliseconds::rep>(count));
  return "";
}

/// One option to a line, in a width that leaves room for what it says.
class Formatter : public CLI::Formatter {
 public:
  Formatter() { column_width(30); }
  std::string make_usage(const CLI::App* /*app*/, std::string /*name*/) const override {
    return "Usage: redis-resolve [OPTIONS] [SERVICE]\n";
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    return option->get_type_name().empty() ? "" : " " + option->get_type_name();
  }
};

}  // namespace

std::variant<ResolveOptions, EarlyExit> ParseResolveOptions(int argc, const char* const* argv) {
  static const std::map<std::string, Role> kRoles{
      {"master", Role::kMaster}, {"replica", Role::kReplica}, {"any", Role::kAny}};
  static const std::map<std::string, Format> kFormats{
      {"hostport", Format::kHostPort}, {"url", Format::kUrl}, {"json", Format::kJson}};

  ResolveOptions options;
  CLI::App app("Prints where a Redis service published in Consul DNS can be dialled.", "redis-resolve");
  app.formatter(std::make_shared<Formatter>());
  app.footer(kExamples);
  app.set_version_flag("--version", "redis-resolve " RCB_VERSION, "Print the version and exit");
  app.set_help_flag("-h,--help", "Print this help and exit");

  app.add_option("SERVICE", options.name.service, "Name in Consul or full DNS name (default: redis)")->type_name("");
  const auto choice = [&app](const std::string& flag, auto& target, const auto& names, const std::string& type,
                             const std::string& help) {
    app.add_option_function<std::string>(
           flag,
           [&target, &names, type](const std::string& text) {
             const auto found = names.find(text);
             if (found == names.end()) throw CLI::ValidationError("'" + text + "' is not one of " + type);
             target = found->second;
           },
           help)
        ->type_name(type);
  };
  const auto checked = [&app](const std::string& flag, auto& target, auto read, const std::string& type,
                              const std::string& help) {
    return app
        .add_option_function<std::string>(
            flag,
            [&target, read](const std::string& text) {
              if (const std::string wrong = read(text, target); !wrong.empty()) throw CLI::ValidationError(wrong);
            },
            help)
        ->type_name(type);
  };
  choice("--role", options.name.role, kRoles, "master|replica|any", "Which instances (default: master)");
  app.add_flag("--all", options.all, "Print every address, not one");
  app.add_option("--dc", options.name.datacenter, "Consul datacenter (default: the agent's)")->type_name("DC");
  auto* const domain =
      app.add_option("--domain", options.name.domain, "Consul's DNS domain (default: consul)")->type_name("NAME");
  checked("--dns", options.dns, ReadServer, "HOST:PORT|system", "DNS server (default: 127.0.0.1:8600)")
      ->envname("REDIS_RESOLVE_DNS");
  choice("--format", options.format, kFormats, "hostport|url|json", "How to print (default: hostport)");
  checked("--timeout", options.timeout, ReadDuration, "DURATION", "Longest wait for DNS (default: 2s)");

  try {
    app.parse(argc, argv);
    if (options.name.is_full_name() && !domain->empty()) {
      throw CLI::ValidationError("'" + options.name.service +
                                 "' is a full name (it has a dot): --domain has no meaning with it");
    }
  } catch (const CLI::CallForHelp&) {
    return EarlyExit{0, app.help()};
  } catch (const CLI::CallForVersion&) {
    return EarlyExit{0, app.version() + "\n"};
  } catch (const CLI::ParseError& error) {
    return EarlyExit{kUsageError, "redis-resolve: " + std::string(error.what()) + " (see redis-resolve --help)\n"};
  }
  return options;
}

}  // namespace rcb::consul
