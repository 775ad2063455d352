#include "server/api.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <iterator>
#include <memory>
#include <random>
#include <utility>

#include "base/sha256.h"
#include "common/float_text.h"
#include "common/receipt.h"
#include "common/version.h"
#include "numerics/profile.h"
#include "server/error_response.h"
#include "server/text_endpoints.h"

namespace vexact {
namespace {

using Clock = std::chrono::steady_clock;

int64_t UnixSeconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

uint64_t RandomSalt() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

// In a time that depends on the lengths alone: a digest of what was found says nothing about where
// it begins to differ.
bool IsSameSecret(std::string_view expected, std::string_view found) {
  const auto digest = [](std::string_view text) {
    Sha256 sha256;
    sha256.Update(std::as_bytes(std::span(text)));
    return sha256.Finish();
  };
  const auto a = digest(expected);
  const auto b = digest(found);
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

bool IsJson(std::string_view content_type) {
  std::string type = LowerCase(content_type.substr(0, content_type.find(';')));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  return type == "application/json";
}

PendingAnswer Refusal(const ApiError& error) { return ReadyAnswer(ErrorResponse(error)); }

PendingAnswer JsonAnswer(const Result<std::string>& body) {
  if (!body.ok()) return Refusal(RequestError(body.error()));
  return ReadyAnswer({.body = *body});
}

constexpr std::string_view kModels = "/v1/models";

}  // namespace

struct Api::Route {
  std::string_view path;
  std::string_view method;
  PendingAnswer (Api::*handle)(const HttpRequest&, const std::string& id, const Wake&);
  bool is_open = false;  // without the API key
};

const Api::Route* Api::FindRoute(std::string_view path) {
  static constexpr std::array<Route, 9> kRoutes{{
      {"/v1/completions", "POST", &Api::Completions},
      {"/v1/chat/completions", "POST", &Api::Chat},
      {"/generate", "POST", &Api::Generate},
      {"/tokenize", "POST", &Api::Tokenize},
      {"/detokenize", "POST", &Api::Detokenize},
      {kModels, "GET", &Api::Models},
      {"/version", "GET", &Api::Version},
      {"/health", "GET", &Api::Health, /*is_open=*/true},
      {"/metrics", "GET", &Api::MetricsText},
  }};
  // A model's own page.
  if (path.starts_with(kModels) && path.substr(kModels.size()).starts_with('/')) path = kModels;
  const auto* const route = std::ranges::find(kRoutes, path, &Route::path);
  return route == kRoutes.end() ? nullptr : route;
}

Api::Api(ApiOptions options, EngineFront& front)
    : options_(std::move(options)),
      created_(UnixSeconds()),
      id_salt_(RandomSalt()),
      profile_(front.config().mode == Mode::kVariant ? "variant" : kNumericsProfile),
      metrics_(options_.calls.model_name),
      generator_(front, metrics_, options_.limits) {
  options_.calls.max_model_len = front.config().max_model_len;
  options_.calls.has_receipts = options_.identity.has_value();
}

bool Api::IsAuthorized(const HttpRequest& request) const {
  constexpr std::string_view kScheme = "bearer ";
  if (options_.api_key.empty()) return true;
  std::string_view found = request.authorization;
  if (LowerCase(found.substr(0, kScheme.size())) != kScheme) return false;
  found.remove_prefix(kScheme.size());
  return IsSameSecret(options_.api_key, found);
}

std::string Api::NewId() { return fmt::format("{:016x}{:08x}", id_salt_, next_id_++); }

PendingAnswer Api::Handle(const HttpRequest& request, const Wake& wake) {
  const Clock::time_point start = Clock::now();
  const std::string id = NewId();
  return Observe(Dispatch(request, id, wake), request, id, start);
}

PendingAnswer Api::Dispatch(const HttpRequest& request, const std::string& id, const Wake& wake) {
  const Route* const route = FindRoute(request.path);
  if (route != nullptr && IsAllowedPreflight(options_.cors, request)) {
    return ReadyAnswer(PreflightAnswer(request, route->method));
  }
  if ((route == nullptr || !route->is_open) && !IsAuthorized(request)) {
    return Refusal({.status = 401,
                    .message = "expected the header Authorization: Bearer with the API key",
                    .code = "invalid_api_key"});
  }
  if (route == nullptr) {
    return Refusal({.status = 404, .message = "expected the path of an endpoint, found another"});
  }
  if (request.method != route->method) {
    HttpResponse response = ErrorResponse(
        {.status = 405,
         .message = fmt::format("{}: expected the method {}", route->path, route->method)});
    response.headers.emplace_back("Allow", route->method);
    return ReadyAnswer(std::move(response));
  }
  // Also what keeps a web page from sending requests here: its browser asks for leave first, which
  // is given to allowed origins alone.
  if (route->method == "POST" && !IsJson(request.content_type)) {
    return Refusal(
        {.status = 415, .message = "expected the header Content-Type: application/json"});
  }
  return (this->*route->handle)(request, id, wake);
}

PendingAnswer Api::Observe(PendingAnswer answer, const HttpRequest& request, const std::string& id,
                           Clock::time_point start) {
  const Route* const found = FindRoute(request.path);
  const std::string_view route = found == nullptr ? "other" : found->path;
  struct Seen {
    int status = 0;
    bool has_ended = false;
  };
  const auto seen = std::make_shared<Seen>();
  const auto end = [this, seen, route, id, start](std::string_view how) {
    if (std::exchange(seen->has_ended, true)) return;
    metrics_.CountResponse(seen->status);
    if (!options_.log) return;
    const std::chrono::duration<double> elapsed = Clock::now() - start;
    options_.log(
        fmt::format("{{\"time\":{},\"request_id\":\"{}\",\"endpoint\":\"{}\","
                    "\"status\":{},\"end\":\"{}\",\"seconds\":{:.6f}}}",
                    UnixSeconds(), id, route, seen->status, how, elapsed.count()));
  };
  return {.next =
              [seen, end, id, cors = CorsHeaders(options_.cors, request),
               next = std::move(answer.next)] {
                AnswerNews news = next();
                if (news.head) {
                  seen->status = news.head->status;
                  news.head->headers.emplace_back("X-Request-Id", id);
                  std::ranges::copy(cors, std::back_inserter(news.head->headers));
                }
                if (news.end) end("complete");
                return news;
              },
          .cancel =
              [end, cancel = std::move(answer.cancel)] {
                cancel();
                end("client gone");
              }};
}

PendingAnswer Api::Start(Result<ApiCall> call,
                         AnswerWriter (*make_writer)(const AnswerOptions&, WriterContext),
                         const std::string& id, const Wake& wake) {
  if (!call.ok()) return Refusal(RequestError(call.error()));
  if (is_draining_) {
    return Refusal({.status = 503, .message = "the server is shutting down"});
  }
  WriterContext context;
  context.head = {.id = id,
                  .created = UnixSeconds(),
                  .model = options_.calls.model_name,
                  .system_fingerprint = fmt::format("vexact-{}-{}", EngineVersion(), profile_)};
  context.tokenizer = options_.calls.tokenizer;
  context.receipt = [this](const RequestResult& result) {
    return ReceiptJson(MakeReceipt(*options_.identity, result, options_.calls.max_model_len));
  };
  GenerationCall generation;
  generation.needs_logprobs = call.value().options.return_receipt;
  generation.writer = make_writer(call.value().options, std::move(context));
  generation.field_names = std::move(call.value().field_names);
  generation.requests = std::move(call.value().requests);
  return generator_.Start(std::move(generation), wake);
}

PendingAnswer Api::Completions(const HttpRequest& request, const std::string& id,
                               const Wake& wake) {
  return Start(ParseCompletion(request.body, options_.calls), CompletionWriter, "cmpl-" + id, wake);
}

PendingAnswer Api::Chat(const HttpRequest& request, const std::string& id, const Wake& wake) {
  if (const Status can_chat = CheckChats(options_.calls); !can_chat.ok()) {
    ApiError error = RequestError(can_chat.error());
    error.status = 501;
    error.code = "unsupported_endpoint";
    return Refusal(error);
  }
  return Start(ParseChat(request.body, options_.calls), ChatWriter, "chatcmpl-" + id, wake);
}

PendingAnswer Api::Generate(const HttpRequest& request, const std::string& id, const Wake& wake) {
  return Start(ParseSglang(request.body, options_.calls), SglangWriter, id, wake);
}

PendingAnswer Api::Tokenize(const HttpRequest& request, const std::string& /*id*/,
                            const Wake& /*wake*/) {
  return JsonAnswer(TokenizeAnswer(request.body, options_.calls));
}

PendingAnswer Api::Detokenize(const HttpRequest& request, const std::string& /*id*/,
                              const Wake& /*wake*/) {
  return JsonAnswer(DetokenizeAnswer(request.body, options_.calls));
}

PendingAnswer Api::Models(const HttpRequest& request, const std::string& /*id*/,
                          const Wake& /*wake*/) {
  std::string model = "{\"id\":";
  AppendJsonString(options_.calls.model_name, model);
  model += fmt::format(
      ",\"object\":\"model\",\"created\":{},\"owned_by\":\"vexact\",\"max_model_len\":{}}}",
      created_, options_.calls.max_model_len);
  if (request.path == kModels) {
    return ReadyAnswer({.body = fmt::format("{{\"object\":\"list\",\"data\":[{}]}}", model)});
  }
  if (request.path.substr(kModels.size() + 1) == options_.calls.model_name) {
    return ReadyAnswer({.body = std::move(model)});
  }
  return Refusal({.status = 404,
                  .message = fmt::format("expected the model \"{}\"", options_.calls.model_name),
                  .param = "model",
                  .code = "model_not_found"});
}

PendingAnswer Api::Version(const HttpRequest& /*request*/, const std::string& /*id*/,
                           const Wake& /*wake*/) {
  return ReadyAnswer({.body = fmt::format("{{\"version\":\"{}\",\"profile\":\"{}\"}}",
                                          EngineVersion(), profile_)});
}

PendingAnswer Api::Health(const HttpRequest& /*request*/, const std::string& /*id*/,
                          const Wake& /*wake*/) {
  if (const std::string fault = generator_.fault(); !fault.empty()) {
    return Refusal({.status = 503, .message = "the engine has failed: " + fault});
  }
  if (is_draining_) return Refusal({.status = 503, .message = "the server is shutting down"});
  return ReadyAnswer({.body = R"({"status":"ready"})"});
}

PendingAnswer Api::MetricsText(const HttpRequest& /*request*/, const std::string& /*id*/,
                               const Wake& /*wake*/) {
  return ReadyAnswer({.content_type = "text/plain; version=0.0.4", .body = metrics_.Text()});
}

}  // namespace vexact
