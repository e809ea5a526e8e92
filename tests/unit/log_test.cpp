#include "agent/log.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

using namespace rcb::agent;

namespace {

/// What `action` writes to standard error.
std::string Captured(const std::function<void()>& action) {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::fflush(stderr);
  const int before = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  action();
  std::fflush(stderr);
  dup2(before, STDERR_FILENO);
  close(before);
  std::rewind(file);
  std::array<char, 4096> bytes{};
  const std::size_t size = std::fread(bytes.data(), 1, bytes.size(), file);
  std::fclose(file);
  return {bytes.data(), size};
}

}  // namespace

TEST_CASE("Log: a JSON line is an object, whatever the text holds") {
  SetUpLog("info", true);
  const std::string line =
      Captured([] { Log(LogLevel::kWarn, "redis \"a\"", std::string("line\nbreak, \xff and {braces} %v")); });
  CHECK(line.find('\n') == line.size() - 1);
  const auto object = nlohmann::json::parse(line, nullptr, false);
  REQUIRE(object.is_object());
  CHECK(object["level"] == "warning");
  CHECK(object["subject"] == "redis \"a\"");
  CHECK(object["message"].get<std::string>().starts_with("line\nbreak"));
  CHECK(object["time"].get<std::string>().ends_with("Z"));
}

TEST_CASE("Log: a text line stays one line, and the level counts") {
  SetUpLog("info", false);
  const std::string line = Captured([] {
    Log(LogLevel::kDebug, "a", "unseen");
    Log(LogLevel::kInfo, "a", "two\nlines");
    Log(LogLevel::kError, "", "no subject");
  });
  CHECK(line.find("unseen") == std::string::npos);
  CHECK(line.find("a: two?lines\n") != std::string::npos);
  CHECK(line.find("error   no subject\n") != std::string::npos);
}
