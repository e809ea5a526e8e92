#include "agent/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>

namespace rcb::agent {
namespace {

bool g_json = false;  // Set once at the start, by the only thread.

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarn: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

void SetUpLog(const std::string& level, bool json) {
  g_json = json;
  auto logger = std::make_shared<spdlog::logger>("agent", std::make_shared<spdlog::sinks::stderr_sink_st>());
  // The payload of a JSON line is an object's inside, so that time and level stand beside it.
  logger->set_pattern(json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})" : "%Y-%m-%dT%H:%M:%S.%eZ %-7l %v",
                      spdlog::pattern_time_type::utc);
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
}

void Log(LogLevel level, const std::string& subject, const std::string& text) {
  if (!spdlog::should_log(ToSpdlog(level))) return;
  std::string line;
  if (g_json) {
    const nlohmann::ordered_json object = {{"subject", subject}, {"message", text}};
    line = object.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
    line = line.substr(1, line.size() - 2);
  } else {
    line = subject.empty() ? text : subject + ": " + text;
    for (char& c : line) {
      if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
    }
  }
  spdlog::log(ToSpdlog(level), "{}", line);
}

}  // namespace rcb::agent
