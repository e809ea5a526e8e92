#pragma once

#include <string>

namespace rcb::agent {

/// What the words of a text for people are marked with, where the terminal shows colours.
enum class Mark { kNone, kGood, kWarning, kBad, kHeading };

/// True when standard output is a terminal and nobody set NO_COLOR (https://no-color.org: a variable that is not
/// empty).
bool WantsColours();

/// `text` in the mark's colour; without `colours`, or with kNone, as it stands.
std::string Marked(const std::string& text, Mark mark, bool colours);

/// Foreign text for a terminal: what could move its cursor becomes a question mark.
std::string Printable(std::string text);

}  // namespace rcb::agent
