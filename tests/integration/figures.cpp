#include "tests/integration/figures.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace rcb::integration {

void Figures::Add(const std::string& row, std::int64_t micros) {
  auto found = std::find_if(rows_.begin(), rows_.end(), [&](const Row& known) { return known.name == row; });
  if (found == rows_.end()) found = rows_.insert(rows_.end(), Row{row, {}});
  found->micros.push_back(micros);
}

void Figures::Print() const {
  std::string text = title_ + "\n";
  char line[160];
  std::snprintf(line, sizeof(line), "  %-52s %5s %12s %12s\n", "milliseconds", "n", "median", "maximum");
  if (!rows_.empty()) text += line;
  for (const Row& row : rows_) {
    std::vector<std::int64_t> sorted = row.micros;
    std::sort(sorted.begin(), sorted.end());
    const std::size_t middle = sorted.size() / 2;
    const std::int64_t median = sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    std::snprintf(line, sizeof(line), "  %-52s %5zu %12.2f %12.2f\n", row.name.c_str(), sorted.size(),
                  static_cast<double>(median) / 1000, static_cast<double>(sorted.back()) / 1000);
    text += line;
  }
  for (const std::string& note : notes_) text += "  " + note + "\n";
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
  if (const char* file = std::getenv("RCB_FIGURES")) std::ofstream(file, std::ios::app) << text;
}

int NumberFromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

}  // namespace rcb::integration
