// HTTP as the server's handlers see it: plain structs, no socket. http_server.h moves them over
// one.
#ifndef VEXACT_SERVER_HTTP_H_
#define VEXACT_SERVER_HTTP_H_

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace vexact {

struct HttpRequest {
  std::string method;         // "GET"
  std::string path;           // without the query
  std::string authorization;  // the header; "" if there is none
  std::string content_type;   // likewise
  std::string body;
  // What a browser adds (server/cors.h): Origin, Access-Control-Request-Method and -Headers.
  std::string origin = {};
  std::string requested_method = {};
  std::string requested_headers = {};
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";  // "": there is no content
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
};

// What became known of an answer since it was last asked.
struct AnswerNews {
  std::optional<HttpResponse> head = {};  // with the first news, once
  std::string bytes = {};                 // more of a streamed body
  // Nothing follows. If the head comes with it, the head's body is the whole answer; else the head
  // began a stream.
  bool end = false;

  bool empty() const { return !head && bytes.empty() && !end; }
};

// An answer in the making, as its connection holds it. Both members are called by one thread at a
// time; `next` not after the end, nothing after `cancel`.
struct PendingAnswer {
  std::function<AnswerNews()> next;  // never waits; empty news: ask again after a wake
  std::function<void()> cancel;      // the client is gone: stop working for it
};

// An answer that is complete at once.
PendingAnswer ReadyAnswer(HttpResponse response);

// Says that there may be news. Any thread, any number of times, also after the connection is gone.
using Wake = std::function<void()>;

// Called on a connection's thread; must not throw.
using HttpHandler = std::function<PendingAnswer(HttpRequest request, Wake wake)>;

}  // namespace vexact

#endif  // VEXACT_SERVER_HTTP_H_
