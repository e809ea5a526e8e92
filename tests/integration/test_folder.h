#pragma once

#include <filesystem>
#include <string>

namespace rcb::integration {

/// A temporary folder of one test. Removed at the end; kept, and its path printed, when the test failed.
class TestFolder {
 public:
  TestFolder();
  ~TestFolder();
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A whole file; empty when it cannot be read.
std::string ReadFile(const std::filesystem::path& path);

/// Throws std::system_error when it cannot.
void WriteFile(const std::filesystem::path& path, const std::string& text);

}  // namespace rcb::integration
