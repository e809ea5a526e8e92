#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "agent/config.h"
#include "agent/config_values.h"

namespace rcb::agent {

/// A setting: what it is called and how it is taken.
struct ConfigKey {
  const char* name;
  const char* variable;  ///< Environment variable, or "".
  ConfigStatus (*set)(Config&, const ConfigJson&);
};

/// The key of the file alone under which several groups have settings of their own: a list of objects.
inline constexpr char kGroupsKey[] = "groups";

/// Every setting, once. The README's table and `check-config` follow this order.
std::span<const ConfigKey> ConfigKeys();

/// nullptr: there is none of that name.
const ConfigKey* FindKey(const std::string& name);

/// For "did you mean": the key, kGroupsKey included, that is most like `name`.
std::string NearestKey(const std::string& name);

/// The flag of a key: the list `sentinels` is given one by one.
std::string FlagOf(const std::string& key);

/// True for the keys that are the agent's and not a group's.
bool IsShared(const std::string& key);

/// The value of each key in effect, secrets masked: what one group runs with, the shared settings included.
ConfigJson DescribeKeys(const Config& config);

}  // namespace rcb::agent
