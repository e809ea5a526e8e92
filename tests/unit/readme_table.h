#pragma once

#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

/// The rows of README's table "`heading` | tag | check", by their first column.
inline std::map<std::string, std::pair<std::string, std::string>> ReadmeTable(const std::string& heading) {
  std::ifstream readme(RCB_TEST_DATA "/../../README.md");
  REQUIRE(readme);
  std::map<std::string, std::pair<std::string, std::string>> rows;
  std::string line;
  while (std::getline(readme, line) && line != "| " + heading + " | tag | check |") {
  }
  std::getline(readme, line);  // The rule below the heading.
  while (std::getline(readme, line) && line.starts_with("| ")) {
    std::vector<std::string> cells;
    for (std::size_t at = 2; at < line.size();) {
      const std::size_t end = line.find(" |", at);
      REQUIRE(end != std::string::npos);
      cells.push_back(line.substr(at, end - at));
      at = end + 3;
    }
    REQUIRE(cells.size() == 3);
    rows[cells[0]] = {cells[1], cells[2]};
  }
  return rows;
}
