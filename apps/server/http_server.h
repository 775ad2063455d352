// HttpServer: HTTP/1.1 over TCP for a handler. Boost.Beast is in http_server.cc and nowhere else:
// it takes half a minute to compile.
//
//   VX_ASSIGN_OR_RETURN(auto server, HttpServer::Start({.port = 8000}, handler));
//   server->StopAccepting();                 // answers in the making are still delivered
//   while (server->num_connections() > 0) Wait();
//
// Each connection is a coroutine on one of `num_threads` threads: a handler that works (parsing,
// tokenising) holds up the connections of its own thread alone. Whatever a client does not do in
// time ends its connection; a client that goes away cancels its answer.
#ifndef VEXACT_SERVER_HTTP_SERVER_H_
#define VEXACT_SERVER_HTTP_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "server/http.h"

namespace vexact {

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  int32_t port = 8000;  // 0: a free one
  int32_t num_threads = 2;
  int32_t max_connections = 16384;  // one more is closed as it comes
  int64_t max_header_bytes = 16 << 10;
  int64_t max_body_bytes = 16 << 20;
  double idle_timeout_s = 75.0;    // between two requests of a connection
  double header_timeout_s = 10.0;  // from a header's first byte to its last
  double body_timeout_s = 60.0;    // the same of a body
  double write_timeout_s = 30.0;   // until a client took one piece of an answer
};

class HttpServer {
 public:
  // Errors: the address is wrong or taken. `handler` is called by several threads at once.
  static Result<std::unique_ptr<HttpServer>> Start(HttpServerOptions options, HttpHandler handler);
  // Ends every connection as it is, and cancels its answer.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int32_t port() const;
  // No new connections; those that wait for a request are closed, the others after their answer.
  void StopAccepting();
  int32_t num_connections() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vexact

#endif  // VEXACT_SERVER_HTTP_SERVER_H_
