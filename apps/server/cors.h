// Which pages of the web may read answers in a browser (CORS). By default none may, and nothing is
// sent; what a page of another origin then gets of its browser is an error.
#ifndef VEXACT_SERVER_CORS_H_
#define VEXACT_SERVER_CORS_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "server/http.h"

namespace vexact {

struct CorsPolicy {
  std::vector<std::string> allowed_origins;  // "https://chat.example:8080"; "*": every one

  bool Allows(std::string_view origin) const;
};

// Error: an origin that no browser would send.
Status CheckOrigin(std::string_view origin);

// What an answer to the request says to a browser; nothing to one whose origin is not allowed.
std::vector<std::pair<std::string, std::string>> CorsHeaders(const CorsPolicy& policy,
                                                             const HttpRequest& request);

// Whether a browser asks, before a request, whether it may be sent. It asks without an API key.
bool IsAllowedPreflight(const CorsPolicy& policy, const HttpRequest& request);

// Yes, with `method` and with whatever headers it named: none has a meaning here beside
// Authorization and Content-Type, and clients send many (X-Stainless-...).
HttpResponse PreflightAnswer(const HttpRequest& request, std::string_view method);

}  // namespace vexact

#endif  // VEXACT_SERVER_CORS_H_
