#pragma once

#include <string>
#include <vector>

#include "agent/status.h"

namespace rcb::agent {

/// One that was asked about an instance, and what it said.
struct Witness {
  std::string who;
  std::string said;
};

/// Everybody whose word the decision about an instance of the group rests on: the server itself, the claim, each
/// Sentinel, the catalog. `at`: when all that was known.
std::vector<Witness> WitnessesOf(const GroupStatus& group, const InstanceStatus& instance, UtcTime at);

/// What `status` prints: a table of the instances, the claim, what DNS answers and what is wrong. `colours`: with those
/// of a terminal. Lines are separated, the last one has no end.
std::string StatusTable(const Status& status, bool colours);

/// What `explain` prints: a paragraph for each instance. Lines as above.
std::string Explain(const Status& status, bool colours);
/// The same as JSON.
std::string ExplainJson(const Status& status);

/// "14s", "3m", "5h", "12d": a time for people, of two digits.
std::string FormatAge(std::chrono::milliseconds age);

}  // namespace rcb::agent
