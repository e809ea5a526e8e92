#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "redis/endpoint.h"
#include "redis/reply.h"
#include "redis/result.h"

namespace rcb::redis {

/// One Sentinel's opinion of one group: who is master, at which config-epoch.
struct SentinelView {
  std::string sentinel_id;  ///< Run id of the Sentinel; its "host:port" when it does not tell one.
  std::string master_name;
  Endpoint master;
  std::string master_run_id;  ///< Empty when not told (hello), or when it may belong to another address.
  std::uint64_t config_epoch = 0;
  // Told by a direct connection only:
  bool direct = false;
  bool master_down = false;  ///< flags hold s_down or o_down.
  /// A failover away from `master` is under way. Not told any more once the successor is promoted and named, though the
  /// leader's flag stays until the other replicas follow (up to failover-timeout).
  bool failover_in_progress = false;
  std::uint32_t quorum = 0;
  std::uint32_t other_sentinels = 0;        ///< How many besides this one it knows.
  std::chrono::milliseconds down_after{0};  ///< 0: not told.
};

/// A Redis server as Sentinel knows it: behind NAT, Docker or `announce-hostnames` by an address that the server itself
/// may not know as its own.
struct SentinelInstance {
  Endpoint address;
  std::string run_id;  ///< As of Sentinel's last INFO, up to 10 s ago.
};

/// A message on `__sentinel__:hello`: `ip,port,runid,current_epoch,name,master_ip,master_port,master_config_epoch`
/// (src/sentinel.c sentinelSendHello). Anybody who may PUBLISH can forge one.
struct SentinelHello {
  Endpoint sentinel;
  std::uint64_t current_epoch = 0;
  SentinelView view;  ///< sentinel_id is the run id; direct is false.
};

/// Error kMalformedReply: not eight fields, or a number that is none.
Result<SentinelHello> ParseSentinelHello(std::string_view payload);

/// Takes the reply of SENTINEL MASTER name (a flat array of field and value; `SENTINEL MASTERS` is an array of these)
/// and of SENTINEL GET-MASTER-ADDR-BY-NAME name that was sent right behind it.
///
/// Both are needed: between +promoted-slave and +switch-master the leader's MASTER reply still shows the *old* address
/// but already the *new* config-epoch, while GET-MASTER-ADDR-BY-NAME shows the new address (src/sentinel.c
/// sentinelGetCurrentMasterAddress). In this order a change in between yields the new address at the old epoch, which
/// claims nothing; the other order would crown the old master at the new epoch.
/// Error kMalformedReply: the fields name, ip, port or config-epoch are missing or wrong.
Result<SentinelView> ParseSentinelMaster(const std::string& sentinel_id, const Reply& master, const Reply& address);

/// Names of the groups in a SENTINEL MASTERS reply, in its order.
std::vector<std::string> ParseSentinelMasterNames(const Reply& masters);

/// A group and where its servers are, as a Sentinel knows them.
struct MonitoredGroup {
  std::string name;
  std::vector<Endpoint> servers;
};

/// The groups in a SENTINEL MASTERS reply, each with its master alone. Entries without name or address are left out.
std::vector<MonitoredGroup> ParseSentinelGroups(const Reply& masters);

/// The replicas in a SENTINEL SLAVES name reply. Entries without address or run id (not reached yet) are left out.
std::vector<SentinelInstance> ParseSentinelReplicas(const Reply& replicas);

/// Addresses in a SENTINEL SENTINELS name reply. Entries without address are left out.
std::vector<Endpoint> ParseSentinelPeers(const Reply& sentinels);

}  // namespace rcb::redis
