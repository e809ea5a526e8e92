#pragma once

#include <string>
#include <vector>

namespace rcb::agent {

/// What an examination found about one thing.
struct Finding {
  enum class Grade {
    kGood,
    kNote,     ///< Worth knowing.
    kWarning,  ///< It works, and will hurt one day.
    kFault,    ///< It does not work.
  };
  Grade grade = Grade::kGood;
  std::string about;
  std::string said;
  std::string remedy{};  ///< What to do; empty where there is nothing to do.

  bool operator==(const Finding&) const = default;
};

bool HasFault(const std::vector<Finding>& findings);

/// A line for each, and at the end what to do: faults first, each in the order in which it was found. Lines are
/// separated, the last one has no end.
std::string FindingsText(const std::vector<Finding>& findings, bool colours);
/// The same as JSON.
std::string FindingsJson(const std::vector<Finding>& findings);

}  // namespace rcb::agent
