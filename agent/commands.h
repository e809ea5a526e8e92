#pragma once

#include "agent/config.h"

namespace rcb::agent {

/// The daemon. Returns the exit status: 0 after SIGTERM or SIGINT, 2 when the settings cannot work.
int Run(const ConfigSources& sources);

/// Validates the settings and prints the effective ones as JSON, secrets masked. Returns 0, or 2 with a line on
/// standard error.
int CheckConfig(const ConfigSources& sources);

/// How a command that asks prints its answer.
enum class Output { kText, kJson };

/// Asks the agent that runs at `listen` and prints what it publishes and why, as a table. Returns 0, 1 when no agent
/// answers there, 2 when the settings cannot work.
int ShowStatus(const ConfigSources& sources, Output output);

/// The same, as a paragraph for each instance that names every witness and what it said.
int ExplainStatus(const ConfigSources& sources, Output output);

/// Tries everything that an agent with these settings needs, prints what was found and what to do. `dns`: HOST[:PORT]
/// to ask; empty: the Consul agent's own. Returns 0, 1 when something does not work, 2 when the settings cannot work.
int RunDoctor(const ConfigSources& sources, const std::string& dns, Output output);

/// Removes what an agent with these settings registers from the local Consul agent. Returns 0 when nothing of it is
/// left, 1 when it still runs (it would register again, so nothing is removed) or Consul refuses, 2 when the settings
/// cannot work. As JSON: the service IDs that are `gone` (or were not there), and each that Consul `refused`, with its
/// words.
int Deregister(const ConfigSources& sources, Output output);

/// Prints the claim of each group. Returns 0, 1 when one has none, 2 on any fault.
int ShowClaim(const ConfigSources& sources);

/// Deletes the claim as it was just read, so that any master that is confirmed may take it. Of several groups one is to
/// be chosen. Returns as ShowClaim().
int ReleaseClaim(const ConfigSources& sources);

}  // namespace rcb::agent
