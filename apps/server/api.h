// Api: the server's endpoints, without sockets: a request in, an answer in the making out.
//
//   POST /v1/completions, /v1/chat/completions   OpenAI's, with vLLM's parameters
//   POST /generate                               SGLang's
//   POST /tokenize, /detokenize                  vLLM's
//   GET  /v1/models, /v1/models/NAME, /version, /health, /metrics
#ifndef VEXACT_SERVER_API_H_
#define VEXACT_SERVER_API_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/model_identity.h"
#include "server/api_call.h"
#include "server/cors.h"
#include "server/generation.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/writers.h"

namespace vexact {

struct ApiOptions {
  CallContext calls;
  GeneratorLimits limits;
  std::string api_key;  // "": none is asked for
  CorsPolicy cors;
  std::optional<ModelIdentity> identity;  // of receipts; none: no receipts
  // Takes a JSON line about each answer; none: no one listens. Neither prompts nor answers are in
  // it. Called by many threads.
  std::function<void(std::string_view line)> log;
};

// Thread contract: any thread may call any member. Its answers must have ended or been cancelled
// before its end.
class Api {
 public:
  // `front` outlives it. options.calls.max_model_len and .has_receipts are set here.
  Api(ApiOptions options, EngineFront& front);
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  PendingAnswer Handle(const HttpRequest& request, const Wake& wake);

  // /health says 503 and new work is refused; answers in the making go on.
  void SetDraining() { is_draining_ = true; }
  // For /metrics; asking the engine takes up to a step, so its owner does that now and then.
  void SetEngineStats(const EngineStats& stats) { metrics_.SetEngineStats(stats); }
  int64_t num_open_samples() const { return generator_.num_open_samples(); }

 private:
  struct Route;
  static const Route* FindRoute(std::string_view path);
  bool IsAuthorized(const HttpRequest& request) const;
  std::string NewId();

  PendingAnswer Dispatch(const HttpRequest& request, const std::string& id, const Wake& wake);
  PendingAnswer Completions(const HttpRequest& request, const std::string& id, const Wake& wake);
  PendingAnswer Chat(const HttpRequest& request, const std::string& id, const Wake& wake);
  PendingAnswer Generate(const HttpRequest& request, const std::string& id, const Wake& wake);
  PendingAnswer Start(Result<ApiCall> call,
                      AnswerWriter (*make_writer)(const AnswerOptions&, WriterContext),
                      const std::string& id, const Wake& wake);
  PendingAnswer Tokenize(const HttpRequest& request, const std::string& id, const Wake& wake);
  PendingAnswer Detokenize(const HttpRequest& request, const std::string& id, const Wake& wake);
  PendingAnswer Models(const HttpRequest& request, const std::string& id, const Wake& wake);
  PendingAnswer Version(const HttpRequest& request, const std::string& id, const Wake& wake);
  PendingAnswer Health(const HttpRequest& request, const std::string& id, const Wake& wake);
  PendingAnswer MetricsText(const HttpRequest& request, const std::string& id, const Wake& wake);
  // Counts and logs an answer as it goes by, and gives it its X-Request-Id and what a browser asks
  // for. The call began at `start`.
  PendingAnswer Observe(PendingAnswer answer, const HttpRequest& request, const std::string& id,
                        std::chrono::steady_clock::time_point start);

  ApiOptions options_;
  const int64_t created_;           // of the model list: when the server began
  const uint64_t id_salt_;          // ids of two runs differ
  const std::string_view profile_;  // of the numerics, or "variant": no promise
  std::atomic<uint64_t> next_id_ = 0;
  std::atomic<bool> is_draining_ = false;
  Metrics metrics_;
  Generator generator_;
};

}  // namespace vexact

#endif  // VEXACT_SERVER_API_H_
