#pragma once

#include <string>
#include <tl/expected.hpp>

#include "redis/file_stamp.h"

namespace rcb::agent {

/// A password or token: a value, or the first line of a file. The file is read again when it changes, so that a secret
/// can be renewed while the agent runs. Never printed.
class Secret {
 public:
  Secret() = default;  ///< None.
  explicit Secret(std::string value) : value_(std::move(value)) {}

  /// The error names the file and what is wrong with it.
  static tl::expected<Secret, std::string> FromFile(const std::string& path);

  /// Costs one stat(). A file that cannot be read now, or whose first line is empty, leaves the last value.
  const std::string& Current();
  bool empty() const { return value_.empty(); }
  /// From the same file, whatever it holds, or the same value.
  bool IsSameSource(const Secret& other) const {
    return path_ == other.path_ && (!path_.empty() || value_ == other.value_);
  }

 private:
  std::string path_;  ///< Empty: it is a value.
  redis::FileStamp stamp_;
  std::string value_;
};

}  // namespace rcb::agent
