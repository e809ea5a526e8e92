#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>

#include "agent/commands.h"

namespace {

constexpr int kUsageError = 2;

std::map<std::string, std::string> Environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos) variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return variables;
}

struct Flags {
  std::string file;
  std::vector<std::string> redis, sentinels, discover;
  std::string master_name, consul, service, advertise, listen, log_level, log_format;
  std::string dns;
  bool json = false;
};

void AddFlags(CLI::App& command, Flags& flags) {
  command.add_option("--config", flags.file, "Settings: a JSON file with comments")->type_name("FILE");
  command.add_option("--redis", flags.redis, "Redis server to watch; repeatable (127.0.0.1:6379)")
      ->type_name("HOST:PORT|unix:/PATH")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--sentinel", flags.sentinels, "Sentinel to ask; repeatable (found by themselves)")
      ->type_name("HOST:PORT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      .add_option("--discover", flags.discover,
                  "Sentinel whose groups to watch, as far as they are on this host; repeatable")
      ->type_name("HOST:PORT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--master-name", flags.master_name, "Sentinel's name of the group (learned)")->type_name("NAME");
  command.add_option("--consul", flags.consul, "Local Consul agent (http://127.0.0.1:8500)")->type_name("URL");
  command.add_option("--service", flags.service, "Service to publish (redis)")->type_name("NAME");
  command.add_option("--advertise", flags.advertise, "Where clients reach the server (the Consul node's address)")
      ->type_name("HOST[:PORT]");
  command.add_option("--listen", flags.listen, "Where the status is served, or off (127.0.0.1:8579)")
      ->type_name("ADDRESS:PORT");
  command.add_option("--log-level", flags.log_level, "debug, info, warn or error (info)")->type_name("LEVEL");
  command.add_option("--log-format", flags.log_format, "text or json (text)")->type_name("FORMAT");
}

rcb::agent::ConfigSources SourcesOf(const CLI::App& command, const Flags& flags) {
  rcb::agent::ConfigSources sources;
  sources.environment = Environment();
  if (command.count("--config") > 0) sources.file = flags.file;
  const auto add = [&](const char* option, const char* key, std::vector<std::string> values) {
    if (command.count(option) > 0) sources.flags.emplace_back(key, std::move(values));
  };
  add("--redis", "redis", flags.redis);
  add("--sentinel", "sentinels", flags.sentinels);
  add("--discover", "discover", flags.discover);
  add("--master-name", "master_name", {flags.master_name});
  add("--consul", "consul", {flags.consul});
  add("--service", "service", {flags.service});
  add("--advertise", "advertise", {flags.advertise});
  add("--listen", "listen", {flags.listen});
  add("--log-level", "log_level", {flags.log_level});
  add("--log-format", "log_format", {flags.log_format});
  return sources;
}

int Main(int argc, char** argv) {
  CLI::App app("Publishes the live Redis master in Consul DNS.", "redis-consul-agent");
  app.set_version_flag("--version", "redis-consul-agent " RCB_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  redis-consul-agent run\n"
      "  redis-consul-agent run --redis 127.0.0.1:6380 --service cache --log-format json\n"
      "  redis-consul-agent check-config --config /etc/redis-consul-agent/config.json");
  Flags flags;
  CLI::App* run = app.add_subcommand("run", "Watch the local Redis and keep Consul saying which server is master");
  CLI::App* check = app.add_subcommand("check-config", "Validate the settings and print them, secrets masked");
  CLI::App* status = app.add_subcommand("status", "What the running agent publishes and why, as a table");
  CLI::App* explain =
      app.add_subcommand("explain", "Why: the witnesses that the running agent asked, and what each said");
  CLI::App* doctor = app.add_subcommand("doctor", "Try everything that the agent needs once, and say what to do");
  doctor->add_option("--dns", flags.dns, "DNS server to ask (the Consul agent's own)")->type_name("HOST[:PORT]");
  CLI::App* deregister =
      app.add_subcommand("deregister", "Remove this host's registrations; the agent must be stopped");
  for (CLI::App* command : {status, explain, doctor, deregister}) {
    command->add_flag("--json", flags.json, "Print JSON");
  }
  check->add_flag("--json", flags.json, "Print JSON, as it does anyway");
  CLI::App* claim = app.add_subcommand("claim", "Inspect or release the record of who is master");
  claim->require_subcommand(1);
  CLI::App* show = claim->add_subcommand("show", "Print it as JSON");
  CLI::App* release = claim->add_subcommand("release", "Delete it, so that any confirmed master may take it");
  for (CLI::App* command : {run, check, status, explain, doctor, deregister, show, release}) AddFlags(*command, flags);
  const std::string first = argc > 1 ? argv[1] : "-";
  const auto commands = app.get_subcommands([&first](const CLI::App* command) { return command->get_name() == first; });
  if (first.front() != '-' && commands.empty()) {
    std::fprintf(stderr,
                 "redis-consul-agent: unknown command \"%s\": expected run, check-config, status, explain, doctor, "
                 "deregister or "
                 "claim (try --help)\n",
                 first.c_str());
    return kUsageError;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::fprintf(stderr, "redis-consul-agent: %s (try --help)\n", error.what());
    return kUsageError;
  }
  if (run->parsed()) return rcb::agent::Run(SourcesOf(*run, flags));
  const auto output = flags.json ? rcb::agent::Output::kJson : rcb::agent::Output::kText;
  if (status->parsed()) return rcb::agent::ShowStatus(SourcesOf(*status, flags), output);
  if (explain->parsed()) return rcb::agent::ExplainStatus(SourcesOf(*explain, flags), output);
  if (doctor->parsed()) return rcb::agent::RunDoctor(SourcesOf(*doctor, flags), flags.dns, output);
  if (deregister->parsed()) return rcb::agent::Deregister(SourcesOf(*deregister, flags), output);
  if (show->parsed()) return rcb::agent::ShowClaim(SourcesOf(*show, flags));
  if (release->parsed()) return rcb::agent::ReleaseClaim(SourcesOf(*release, flags));
  return rcb::agent::CheckConfig(SourcesOf(*check, flags));
}

}  // namespace

int main(int argc, char** argv) {
  // Whoever closed a standard descriptor must not find a socket of ours there.
  for (int descriptor = open("/dev/null", O_RDWR); descriptor >= 0; descriptor = open("/dev/null", O_RDWR)) {
    if (descriptor > STDERR_FILENO) {
      close(descriptor);
      break;
    }
  }
  try {
    return Main(argc, argv);
  } catch (const std::exception& error) {  // Only a start-up throws.
    std::fprintf(stderr, "redis-consul-agent: %s\n", error.what());
    return 1;
  }
}
