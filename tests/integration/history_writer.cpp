#include "tests/integration/history_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace rcb::integration {

HistoryWriter::HistoryWriter(const std::string& path)
    : file_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644)) {
  if (file_ < 0) throw std::system_error(errno, std::generic_category(), "cannot write the history " + path);
}

HistoryWriter::~HistoryWriter() { close(file_); }

void HistoryWriter::Write(std::int64_t micros, const std::string& kind, const std::string& subject,
                          const std::string& value) {
  const std::string line = std::to_string(micros) + " " + kind + " " + subject + " " + value + "\n";
  if (write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    throw std::system_error(errno, std::generic_category(), "cannot write the history");
  }
}

}  // namespace rcb::integration
