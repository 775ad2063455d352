// RequestResult: the whole answer to one request, gathered from the engine's outputs, and what it
// looks like as a JSON line and in a digest.
#ifndef VEXACT_COMMON_REQUEST_RESULT_H_
#define VEXACT_COMMON_REQUEST_RESULT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "request/output.h"

namespace vexact {

struct SampleResult {
  std::string text;
  std::vector<int32_t> token_ids;
  std::vector<TokenLogprob> logprobs;      // one for each of token_ids, if asked for
  std::vector<int32_t> redrawn_token_ids;  // as Output's
  double cumulative_logprob = 0.0;
  FinishReason finish_reason = FinishReason::kNone;
  StopReason stop_reason;
  std::string error;            // if finish_reason is kError
  std::optional<int64_t> seed;  // none: refused before there was one
  int32_t num_cached_tokens = 0;
  OutputTimings timings;
};

struct RequestResult {
  int64_t index = 0;  // place of the request in its input, from 0
  std::shared_ptr<const std::vector<int32_t>> prompt_token_ids;  // null: refused before that
  std::vector<TokenLogprob> prompt_logprobs;                     // of prompt tokens 1, 2, ...
  std::vector<SampleResult> samples;
  // What was asked, where a receipt will be written; else null.
  std::shared_ptr<const Request> request;
  // What the client asked to see; a digest takes log-probabilities whether they are shown or not.
  bool show_logprobs = false;
  bool show_prompt_logprobs = false;

  bool finished() const;
  bool failed() const;  // some sample has an error
};

// The result of a request that the engine never saw.
RequestResult RefusedResult(int64_t index, std::string error);

// Adds the news of one sample.
void AppendOutput(const Output& output, RequestResult& result);

// One JSON object without line end:
//   {"index", "prompt_token_ids", "prompt_logprobs", "outputs": [{"index", "text", "token_ids",
//    "logprobs", "cumulative_logprob", "finish_reason", "stop_reason", "seed", "num_cached_tokens",
//    "timings", "error" (only with finish_reason "error")}]}
std::string ResultJson(const RequestResult& result);

// News of one sample while it is being generated: {"index": .., "delta": {"index": .., "text": ..,
// "token_ids": [..], "logprobs": [..] or null}}.
std::string DeltaJson(int64_t request_index, const Output& output, bool show_logprobs);

// Appends `text` as a JSON string, quotes included; bytes that are not UTF-8 become U+FFFD.
void AppendJsonString(const std::string& text, std::string& json);

void AppendJsonIds(const std::vector<int32_t>& ids, std::string& json);

// SHA-256 over answers, in the order in which they are added. The bytes, all little-endian, are for
// each request: u64 number of samples; for each sample u64 number of tokens, the tokens' i32 ids,
// u64 number of log-probabilities, their fp32 words; then u64 number of prompt log-probabilities
// and their fp32 words. A word of -0 counts as +0, of any NaN as 0x7fffffff. Texts, ranks, top
// lists, reasons and times are not part of it.
class AnswerDigest {
 public:
  void Add(const RequestResult& result);
  int64_t num_requests() const { return num_requests_; }
  int64_t num_tokens() const { return num_tokens_; }
  int64_t num_logprobs() const { return num_logprobs_; }
  // 64 hexadecimal digits. Call once.
  std::string Finish() { return sha256_.FinishHex(); }

 private:
  void AddLogprobs(const std::vector<TokenLogprob>& logprobs);

  Sha256 sha256_;
  int64_t num_requests_ = 0;
  int64_t num_tokens_ = 0;
  int64_t num_logprobs_ = 0;
};

// The fp32 word that stands for `value` in digests and comparisons.
uint32_t CanonicalWord(float value);

}  // namespace vexact

#endif  // VEXACT_COMMON_REQUEST_RESULT_H_
