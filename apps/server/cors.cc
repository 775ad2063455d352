#include "server/cors.h"

#include <algorithm>

namespace vexact {

bool CorsPolicy::Allows(std::string_view origin) const {
  return !origin.empty() && std::ranges::any_of(allowed_origins, [origin](const auto& allowed) {
    return allowed == "*" || allowed == origin;
  });
}

Status CheckOrigin(std::string_view origin) {
  if (origin == "*") return {};
  const size_t scheme = origin.find("://");
  const bool good = scheme != std::string_view::npos && scheme > 0 && scheme + 3 < origin.size() &&
                    origin.find_first_of("/ ,*", scheme + 3) == std::string_view::npos;
  if (good) return {};
  return InvalidArgument("expected * or an origin as https://chat.example, found \"{}\"", origin);
}

std::vector<std::pair<std::string, std::string>> CorsHeaders(const CorsPolicy& policy,
                                                             const HttpRequest& request) {
  if (policy.allowed_origins.empty()) return {};
  // Also to an origin that is not allowed, lest a cache gives it another's answer.
  std::vector<std::pair<std::string, std::string>> headers = {{"Vary", "Origin"}};
  if (!policy.Allows(request.origin)) return headers;
  headers.emplace_back("Access-Control-Allow-Origin", request.origin);
  headers.emplace_back("Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
  return headers;
}

bool IsAllowedPreflight(const CorsPolicy& policy, const HttpRequest& request) {
  return request.method == "OPTIONS" && !request.requested_method.empty() &&
         policy.Allows(request.origin);
}

HttpResponse PreflightAnswer(const HttpRequest& request, std::string_view method) {
  HttpResponse response;
  response.status = 204;
  response.content_type.clear();
  response.headers = {{"Access-Control-Allow-Methods", std::string(method)},
                      {"Access-Control-Max-Age", "600"}};
  if (!request.requested_headers.empty()) {
    response.headers.emplace_back("Access-Control-Allow-Headers", request.requested_headers);
  }
  return response;
}

}  // namespace vexact
