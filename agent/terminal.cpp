#include "agent/terminal.h"

#include <cstdlib>

#include <unistd.h>

namespace rcb::agent {
namespace {

/// ECMA-48, SGR.
const char* Sequence(Mark mark) {
  switch (mark) {
    case Mark::kGood: return "\x1b[32m";
    case Mark::kWarning: return "\x1b[33m";
    case Mark::kBad: return "\x1b[31m";
    case Mark::kHeading: return "\x1b[1m";
    case Mark::kNone: break;
  }
  return "";
}

}  // namespace

bool WantsColours() {
  const char* no_colour = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) != 0 && (no_colour == nullptr || *no_colour == '\0');
}

std::string Marked(const std::string& text, Mark mark, bool colours) {
  return colours && mark != Mark::kNone ? Sequence(mark) + text + "\x1b[0m" : text;
}

std::string Printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
  }
  return text;
}

}  // namespace rcb::agent
