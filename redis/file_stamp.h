#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace rcb::redis {

/// Tells whether a file is still what it was: which file stands under the path (links followed), its size and when it
/// was last changed. All zero: it is not there.
struct FileStamp {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  std::int64_t changed_seconds = 0;  ///< st_ctim: unlike the time of modification nobody can set it.
  std::int64_t changed_nanoseconds = 0;

  bool operator==(const FileStamp&) const = default;
};

/// One stat(): a microsecond on a local file system. To be taken before the file is read, so that a change meanwhile is
/// noticed the next time.
FileStamp StampOf(const std::string& path);

}  // namespace rcb::redis
