#pragma once

#include "agent/config.h"

namespace rcb::agent {

/// The daemon. Returns the exit status: 0 after SIGTERM or SIGINT, 2 when the settings cannot work.
int Run(const ConfigSources& sources);

/// Validates and prints the effective settings, secrets masked. Returns 0, or 2 with a line on standard error.
int CheckConfig(const ConfigSources& sources);

/// Prints the claim of the configured service. Returns 0, 1 when there is none, 2 on any fault.
int ShowClaim(const ConfigSources& sources);

/// Deletes the claim as it was just read, so that any master that is confirmed may take it. Returns as ShowClaim().
int ReleaseClaim(const ConfigSources& sources);

}  // namespace rcb::agent
