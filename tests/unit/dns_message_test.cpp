#include "consul/dns_message.h"

#include <doctest/doctest.h>

#include <random>

#include "consul/dns_name.h"
#include "tests/unit/dns_bytes.h"

namespace rcb::consul {
namespace {

using Bytes = DnsBytes::Bytes;

Bytes FromHex(std::string_view hex) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

// Answers of Consul 1.8.7 as they came over UDP, each to `master.<service>.service.consul` SRV.

// A service without an address of its own: the node's name, and its A and TXT records as additional ones.
const Bytes kNodeTarget = FromHex(
    "123485000001000100000003066d6173746572057265646973077365727669636506636f6e73756c0000210001c00c002100"
    "0100000000001a0001000118eb02766d046e6f64650364633106636f6e73756c00c03f000100010000000000047f000001c0"
    "3f0010000100000000001817636f6e73756c2d6e6574776f726b2d7365676d656e743d0000291000000000000000");

// A service at an IPv6 address.
const Bytes kIpv6Target = FromHex(
    "123485000001000100000003066d617374657206726564697336077365727669636506636f6e73756c0000210001c00c0021"
    "00010000000000380001000118eb203230303130646238303030303030303030303030303030303030303030303031046164"
    "64720364633106636f6e73756c00c040001c000100000000001020010db800000000000000000000000102766d046e6f6465"
    "c0660010000100000000001817636f6e73756c2d6e6574776f726b2d7365676d656e743d0000291000000000000000");

// No such service: NXDOMAIN with a SOA record.
const Bytes kNoService = FromHex(
    "123485030001000000010001066d6173746572046e6f6e65077365727669636506636f6e73756c0000210001c02000060001"
    "000000000026026e73c0200a686f73746d6173746572c0206b02368100000e10000002580001518000000000000029100000"
    "0000000000");

std::string WhyMalformed(const Bytes& bytes) {
  const auto message = ParseDnsMessage(bytes);
  REQUIRE_FALSE(message);
  CHECK(message.error().kind == ErrorKind::kMalformedReply);
  return message.error().message;
}

}  // namespace

TEST_CASE("ParseDnsMessage: Consul's own answers") {
  SUBCASE("a node's name as target, its address beside it") {
    const auto message = ParseDnsMessage(kNodeTarget);
    REQUIRE(message);
    CHECK(message->response_code == 0);
    CHECK(message->SrvRecordsOf("master.redis.service.consul") ==
          std::vector<SrvRecord>{{1, 1, 6379, "vm.node.dc1.consul"}});
    CHECK(message->AddressOf("vm.node.dc1.consul") == "127.0.0.1");
    CHECK(message->AddressOf("other.node.dc1.consul").empty());
    CHECK(message->SrvRecordsOf("replica.redis.service.consul").empty());
  }
  SUBCASE("IPv6") {
    const auto message = ParseDnsMessage(kIpv6Target);
    REQUIRE(message);
    const auto records = message->SrvRecordsOf("master.redis6.service.consul");
    REQUIRE(records.size() == 1);
    CHECK(records[0].target == "20010db8000000000000000000000001.addr.dc1.consul");
    CHECK(message->AddressOf(records[0].target) == "2001:db8::1");
  }
  SUBCASE("none") {
    const auto message = ParseDnsMessage(kNoService);
    REQUIRE(message);
    CHECK(message->response_code == 3);
    CHECK(message->SrvRecordsOf("master.none.service.consul").empty());
  }
}

TEST_CASE("DnsMessage: IPv4 is preferred, the first of each kind is taken") {
  const auto message = ParseDnsMessage(DnsBytes(0x8400, 0, 4)
                                           .Record("h", 28, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
                                           .Record("h", 1, {10, 0, 0, 1})
                                           .Record("h", 1, {10, 0, 0, 2})
                                           .Record("six", 28, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2})
                                           .bytes());
  REQUIRE(message);
  CHECK(message->AddressOf("h") == "10.0.0.1");
  CHECK(message->AddressOf("six") == "::2");
}

TEST_CASE("DnsMessage: aliases are followed, but not for ever") {
  const auto message = ParseDnsMessage(DnsBytes(0x8400, 0, 4, 0, 2)
                                           .Cname("redis.corp", "master.redis.service.consul")
                                           .Srv("master.redis.service.consul", 1, 1, 6379, "host.corp")
                                           .Cname("loop.corp", "pool.corp")
                                           .Cname("pool.corp", "loop.corp")
                                           .Cname("host.corp", "real.corp")
                                           .Record("real.corp", 1, {10, 0, 0, 7})
                                           .bytes());
  REQUIRE(message);
  REQUIRE(message->SrvRecordsOf("redis.corp").size() == 1);
  CHECK(message->AddressOf("host.corp") == "10.0.0.7");
  CHECK(message->SrvRecordsOf("loop.corp").empty());
  CHECK(message->AddressOf("loop.corp").empty());
}

TEST_CASE("ParseDnsMessage: what is not asked for is passed over") {
  const auto message = ParseDnsMessage(DnsBytes(0x8400, 1, 2, 1, 1)
                                           .Question("a", 33)
                                           .Record("a", 1, {1, 2, 3}, /*record_class=*/3)  // Chaosnet's A is another.
                                           .Record("a", 16, {1, 'x'})
                                           .Srv("a", 1, 1, 1, "authority")
                                           .Srv("a", 1, 1, 1, "additional")
                                           .Raw({0xff, 0xff})  // After the end.
                                           .bytes());
  REQUIRE(message);
  CHECK(message->services.empty());
  CHECK(message->addresses.empty());
}

TEST_CASE("ParseDnsMessage: names lose case and gain no control character") {
  const auto message = ParseDnsMessage(DnsBytes(0x8400, 0, 1).Srv("MASTER.Redis", 1, 1, 1, "a b\x1b[2J\\\xff").bytes());
  REQUIRE(message);
  REQUIRE(message->SrvRecordsOf("master.redis").size() == 1);
  CHECK(message->services[0].record.target == "a\\032b\\027[2j\\092\\255");
}

TEST_CASE("ParseDnsMessage: malformed answers are told apart") {
  CHECK(WhyMalformed({}).find("header") != std::string::npos);
  CHECK(WhyMalformed(DnsBytes(0x0100, 1).Question("a", 33).bytes()).find("is a question") != std::string::npos);
  CHECK(WhyMalformed(DnsBytes(0x8400, 9).Question("a", 33).bytes()).find("question") != std::string::npos);
  CHECK(WhyMalformed(DnsBytes(0x8400, 0, 0xffff, 0xffff, 0xffff).bytes()).find("record 1 of 196605") !=
        std::string::npos);
  CHECK(WhyMalformed(DnsBytes(0x8400, 0, 1).Record("a", 1, {10, 0, 0}).bytes()).find("data") != std::string::npos);
  CHECK(WhyMalformed(DnsBytes(0x8400, 0, 1).Record("a", 28, {10, 0, 0, 1}).bytes()).find("data") != std::string::npos);
  CHECK(WhyMalformed(DnsBytes(0x8400, 0, 1).Record("a", 33, {0, 1, 0, 1, 0}).bytes()).find("data") !=
        std::string::npos);
  // A target that runs on behind its record's data.
  CHECK(WhyMalformed(DnsBytes(0x8400, 0, 1).Record("a", 33, {0, 1, 0, 1, 0, 1, 3, 'a'}).Raw({'b', 'c', 0}).bytes())
            .find("data") != std::string::npos);
}

TEST_CASE("ParseDnsMessage: compression leads backwards only") {
  constexpr unsigned kFirst = 12;  // Behind the header.
  const auto is_refused = [](const DnsBytes& message, const char* why) {
    return WhyMalformed(message.bytes()).find(why) != std::string::npos;
  };
  CHECK(is_refused(DnsBytes(0x8400, 0, 1).Pointer(kFirst).Raw(Bytes(20)), "in a circle"));       // To itself.
  CHECK(is_refused(DnsBytes(0x8400, 0, 1).Pointer(kFirst + 2).Pointer(kFirst), "in a circle"));  // Forward.
  CHECK(is_refused(DnsBytes(0x8400, 0, 1).Raw({1, 'a'}).Pointer(kFirst), "in a circle"));    // To its own beginning.
  CHECK(is_refused(DnsBytes(0x8400, 0, 1).Pointer(0x3fff), "leads forward"));                // Beyond the end.
  CHECK(is_refused(DnsBytes(0x8400, 0, 1).Raw({0xc0}), "cut off"));                          // Half a pointer.
  CHECK(is_refused(DnsBytes(0x8400, 0, 1).Raw({0x40, 'a', 0}).Raw(Bytes(20)), "too long"));  // A type of no use.
  CHECK(is_refused(DnsBytes(0x8400, 0, 1).Raw({63, 'a'}), "cut off"));                       // A label beyond the end.

  // 255 octets are the most that a name has: three labels of 63, then one of 61 or of 62.
  const std::string label(63, 'x');
  const std::string most = label + "." + label + "." + label + "." + std::string(61, 'x');
  CHECK(ParseDnsMessage(DnsBytes(0x8400, 0, 1).Record(most, 16, {}).bytes()));
  CHECK(is_refused(DnsBytes(0x8400, 0, 1).Record(most + "x", 16, {}), "too long"));

  // A chain of pointers, each to the one before it, is bounded as well.
  DnsBytes chain(0x8400, 0, 1);
  chain.Record("", 16, Bytes());
  DnsBytes::Bytes pointers;
  DnsBytes long_chain(0x8400, 0, 2);
  for (unsigned i = 0; i < 1000; ++i) {
    const unsigned to = i == 0 ? kFirst : kFirst + 11 + 2 * (i - 1);
    pointers.push_back(static_cast<std::uint8_t>(0xc0 | to >> 8));
    pointers.push_back(static_cast<std::uint8_t>(to & 0xff));
  }
  long_chain.Record("", 16, pointers).Pointer(kFirst + 11 + 2 * 999).Raw(Bytes(10));
  CHECK(is_refused(long_chain, "too many pointers"));
}

TEST_CASE("ParseDnsMessage: an answer that is cut off anywhere is refused, and read nowhere beyond") {
  for (const Bytes& whole : {kNodeTarget, kIpv6Target, kNoService}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      // A copy of its own size, so that a sanitizer sees the first byte read too many.
      const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      CHECK_FALSE(ParseDnsMessage(cut));
    }
  }
}

TEST_CASE("ParseDnsMessage: any bytes end in a value or an error") {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same bytes at every run.
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes = round % 2 == 0 ? kNodeTarget : kIpv6Target;
    for (int change = 0; change < 1 + round % 8; ++change) {
      bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
    }
    const auto message = ParseDnsMessage(bytes);
    if (!message) continue;
    for (const auto& service : message->services) {
      CHECK(service.name.size() <= 4 * 255);
      message->AddressOf(service.record.target);
    }
  }
}

TEST_CASE("AddressInName: Consul's names of addresses") {
  CHECK(AddressInName("7f000001.addr.dc1.consul") == "127.0.0.1");
  CHECK(AddressInName("0A00FF01.addr.east.corp.example") == "10.0.255.1");
  CHECK(AddressInName("20010db8000000000000000000000001.addr.dc1.consul") == "2001:db8::1");
  for (const char* other :
       {"", "addr", "7f000001", "7f00000.addr.dc1.consul", "7f0000011.addr.dc1.consul", "7f00000g.addr.dc1.consul",
        "7f000001.node.dc1.consul", "+f000001.addr.dc1.consul", "vm.node.dc1.consul", ".addr.dc1.consul"}) {
    CAPTURE(other);
    CHECK(AddressInName(other).empty());
  }
}

TEST_CASE("DnsName: service, role, datacenter and domain") {
  CHECK(DnsName({}) == std::string("master.redis.service.consul"));
  CHECK(DnsName({.service = "Cache", .role = Role::kReplica, .datacenter = "east", .domain = "corp.example."}) ==
        std::string("replica.cache.service.east.corp.example"));
  CHECK(DnsName({.service = "redis", .role = Role::kAny}) == std::string("redis.service.consul"));
  CHECK(DnsName({.service = "_redis._master.service.consul."}) == std::string("_redis._master.service.consul"));

  const std::string too_long(64, 'x');
  std::string four_labels(251, 'x');  // Long enough by itself, too long with what comes in front.
  for (const std::size_t dot : {63U, 127U, 191U}) four_labels[dot] = '.';
  for (const ServiceName& wrong : std::vector<ServiceName>{{.service = ""},
                                                           {.service = "a b"},
                                                           {.service = "-a"},
                                                           {.service = too_long},
                                                           {.service = "a..b"},
                                                           {.service = "a.b\n"},
                                                           {.service = "a.b", .datacenter = "east"},
                                                           {.datacenter = "a.b"},
                                                           {.domain = ""},
                                                           {.domain = "."},
                                                           {.domain = too_long},
                                                           {.domain = four_labels}}) {
    CAPTURE(wrong.service);
    const auto name = DnsName(wrong);
    REQUIRE_FALSE(name);
    CHECK(name.error().kind == ErrorKind::kConfiguration);
  }
}

}  // namespace rcb::consul
