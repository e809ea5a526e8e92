#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rcb::integration {

/// A table of measured times: printed at the end of a test and, when RCB_FIGURES names a file, appended to it.
class Figures {
 public:
  explicit Figures(std::string title) : title_(std::move(title)) {}

  /// One more measurement of `row`, in microseconds.
  void Add(const std::string& row, std::int64_t micros);
  /// A line under the table.
  void Note(const std::string& line) { notes_.push_back(line); }

  /// "row: n, median, maximum" in milliseconds, rows in the order of their first measurement.
  void Print() const;

 private:
  struct Row {
    std::string name;
    std::vector<std::int64_t> micros;
  };
  const std::string title_;
  std::vector<Row> rows_;
  std::vector<std::string> notes_;
};

/// A whole number from the environment, or `otherwise`.
int NumberFromEnvironment(const char* name, int otherwise);

}  // namespace rcb::integration
