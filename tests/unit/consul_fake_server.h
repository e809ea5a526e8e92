#pragma once

#include <doctest/doctest.h>
#include <uv.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/consul_loop.h"
#include "tests/unit/consul_server.h"

namespace rcb::consul {

/// Listens on a loopback port and answers every connection's first bytes with a fixed text.
class FakeServer {
 public:
  FakeServer(Loop& loop, std::string answer, bool closes = true)
      : answer_(std::move(answer)), closes_(closes), port_(PickPorts(1)) {
    uv_tcp_init(loop.get(), &listener_);
    listener_.data = this;
    sockaddr_in address{};
    uv_ip4_addr("127.0.0.1", port_, &address);
    REQUIRE(uv_tcp_bind(&listener_, reinterpret_cast<sockaddr*>(&address), 0) == 0);
    REQUIRE(uv_listen(reinterpret_cast<uv_stream_t*>(&listener_), 16, &FakeServer::OnConnection) == 0);
  }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  /// Ends the listener and every connection; the loop then runs until libuv has let go of them.
  void Stop(Loop& loop) {
    for (Peer* peer : peers_) Close(peer);
    bool is_closed = false;
    listener_.data = &is_closed;
    uv_close(reinterpret_cast<uv_handle_t*>(&listener_),
             [](uv_handle_t* handle) { *static_cast<bool*>(handle->data) = true; });
    REQUIRE(loop.RunUntil([&is_closed] { return is_closed; }));
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  int requests() const { return requests_; }
  const std::string& last_request() const { return last_request_; }

 private:
  struct Peer {
    uv_tcp_t tcp{};
    uv_write_t write{};
    FakeServer* server = nullptr;
    char buffer[4096] = {};
  };

  static void OnConnection(uv_stream_t* listener, int) {
    auto* peer = new Peer;
    peer->server = static_cast<FakeServer*>(listener->data);
    uv_tcp_init(listener->loop, &peer->tcp);
    peer->tcp.data = peer;
    uv_accept(listener, reinterpret_cast<uv_stream_t*>(&peer->tcp));
    peer->server->peers_.push_back(peer);
    uv_read_start(
        reinterpret_cast<uv_stream_t*>(&peer->tcp),
        [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
          auto* self = static_cast<Peer*>(handle->data);
          *buffer = uv_buf_init(self->buffer, sizeof self->buffer);
        },
        &FakeServer::OnRead);
  }

  static void OnRead(uv_stream_t* stream, ssize_t bytes, const uv_buf_t*) {
    auto* peer = static_cast<Peer*>(stream->data);
    FakeServer* server = peer->server;
    if (bytes < 0) return server->Close(peer);
    ++server->requests_;
    server->last_request_.assign(peer->buffer, static_cast<std::size_t>(bytes));
    uv_buf_t buffer = uv_buf_init(server->answer_.data(), static_cast<unsigned>(server->answer_.size()));
    peer->write.data = peer;
    uv_write(&peer->write, stream, &buffer, 1, [](uv_write_t* write, int) {
      auto* self = static_cast<Peer*>(write->data);
      if (self->server->closes_) self->server->Close(self);
    });
  }

  void Close(Peer* peer) {
    if (uv_is_closing(reinterpret_cast<uv_handle_t*>(&peer->tcp)) != 0) return;
    uv_close(reinterpret_cast<uv_handle_t*>(&peer->tcp), [](uv_handle_t* handle) {
      std::unique_ptr<Peer>(static_cast<Peer*>(handle->data))->server->Forget(handle);
    });
  }
  void Forget(const uv_handle_t* handle) {
    peers_.erase(std::find(peers_.begin(), peers_.end(), static_cast<Peer*>(handle->data)));
  }

  uv_tcp_t listener_{};
  std::string answer_;
  bool closes_;
  int port_;
  int requests_ = 0;
  std::string last_request_;
  std::vector<Peer*> peers_;
};

inline std::string HttpOk(const std::string& headers, const std::string& body) {
  return "HTTP/1.1 200 OK\r\n" + headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace rcb::consul
