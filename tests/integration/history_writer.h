#pragma once

#include <cstdint>
#include <string>

namespace rcb::integration {

/// Writes the observer's history: lines of `MICROSECONDS KIND SUBJECT VALUE…`, each out of the process at once, so that
/// a test can read it while it grows and nothing is lost when the observer is killed.
class HistoryWriter {
 public:
  /// Creates or empties the file. Throws std::system_error when it cannot.
  explicit HistoryWriter(const std::string& path);
  ~HistoryWriter();
  HistoryWriter(const HistoryWriter&) = delete;
  HistoryWriter& operator=(const HistoryWriter&) = delete;

  void Write(std::int64_t micros, const std::string& kind, const std::string& subject, const std::string& value);

 private:
  int file_;
};

}  // namespace rcb::integration
