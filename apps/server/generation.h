// From requests to an answer in the making: the border between the connections' threads and the
// engine's.
//
// The engine's thread only moves its outputs into the call that they belong to. Text is made of
// them on the connection's thread, as fast as its client takes it; what waits for a slow client is
// bounded, and then the client's requests are aborted. So no client holds up the batch.
#ifndef VEXACT_SERVER_GENERATION_H_
#define VEXACT_SERVER_GENERATION_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/request_result.h"
#include "engine/engine_front.h"
#include "server/error_response.h"
#include "server/http.h"
#include "server/metrics.h"

namespace vexact {

// How an endpoint writes the answers of one call; called on its connection's thread.
struct AnswerWriter {
  using Results = std::vector<RequestResult>;  // one for each request of the call

  bool streams = false;
  // The body, once all requests have ended well. Not for streams.
  std::function<std::string(const Results&)> whole;
  // What one output adds to a stream; the results hold it already.
  std::function<std::string(const Results&, size_t request, const Output&)> piece;
  // What ends a stream.
  std::function<std::string(const Results&)> last;
};

struct GenerationCall {
  std::vector<Request> requests;
  FieldNames field_names;       // in errors of its body
  bool needs_logprobs = false;  // of every token, also where a request does not ask (receipts)
  AnswerWriter writer;
};

struct GeneratorLimits {
  int64_t max_open_samples = 0;         // of all calls together, waiting ones included
  int64_t max_pending_bytes = 1 << 20;  // of a stream, waiting for its client
  // Tokens of a sample that a stream brings as one event; the first comes at once.
  int32_t stream_interval = 1;
};

// Any thread may call any member. Calls must have been cancelled or ended before its end, which
// waits until the engine has let go of them.
class Generator {
 public:
  Generator(EngineFront& front, Metrics& metrics, GeneratorLimits limits);
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  // Submits all requests or none. Errors are the answer: 400 names the field, 429 says that too
  // much is waiting, 503 that the engine has failed.
  PendingAnswer Start(GenerationCall call, Wake wake);

  // Why the engine cannot be trusted any more; "": it can.
  std::string fault() const;
  int64_t num_open_samples() const { return open_samples_; }

 private:
  friend class Generation;

  bool Admit(int64_t samples);
  // On the engine's thread, for every output.
  void Count(const Output& output, double since_last_s);

  EngineFront& front_;
  Metrics& metrics_;
  const GeneratorLimits limits_;
  std::atomic<int64_t> open_samples_ = 0;
  mutable std::mutex mutex_;  // guards fault_
  std::string fault_;
};

// One event of a stream (server-sent events).
std::string SseEvent(std::string_view data);

}  // namespace vexact

#endif  // VEXACT_SERVER_GENERATION_H_
