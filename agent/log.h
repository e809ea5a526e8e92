#pragma once

#include <string>

namespace rcb::agent {

/// Sets up the process's log on standard error. `json` writes an object per line.
/// `level`: debug, info, warn or error.
void SetUpLog(const std::string& level, bool json);

enum class LogLevel { kDebug, kInfo, kWarn, kError };

/// Writes one line: about whom (an instance, "consul", a Sentinel; may be empty), and what. Control characters in
/// foreign text are replaced, so that a line stays a line.
void Log(LogLevel level, const std::string& subject, const std::string& text);

}  // namespace rcb::agent
