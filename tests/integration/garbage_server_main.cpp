// garbage_server PORT TEXT: answers whatever comes to a loopback port with TEXT, then closes. It is what an agent finds
// when its settings point at something that is neither Redis nor Consul.

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string_view>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: garbage_server PORT TEXT\n", stderr);
    return 2;
  }
  const std::string_view text = argv[2];
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int reuse = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[1])));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 || listen(listener, 64) != 0) {
    std::perror("garbage_server");
    return 1;
  }
  for (;;) {
    const int client = accept(listener, nullptr, nullptr);
    if (client < 0) continue;
    // A client that says nothing does not hold up the next one for long.
    const timeval patience{1, 0};
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    std::array<char, 4096> question;
    if (recv(client, question.data(), question.size(), 0) > 0) send(client, text.data(), text.size(), MSG_NOSIGNAL);
    close(client);
  }
}
