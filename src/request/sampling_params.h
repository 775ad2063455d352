// How one request's tokens are chosen and what is reported about them; names and defaults are
// vLLM's. The arithmetic is docs/numerics.md, sampling and logits -> logprob.
#ifndef VEXACT_REQUEST_SAMPLING_PARAMS_H_
#define VEXACT_REQUEST_SAMPLING_PARAMS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace vexact {

enum class LogprobsMode {
  kRaw,        // of the model's logits
  kProcessed,  // of the logits after penalties, temperature and filters
};

struct SamplingParams {
  int32_t max_tokens = 16;
  int32_t min_tokens = 0;
  double temperature = 1.0;
  double top_p = 1.0;
  int32_t top_k = 0;  // <= 0: off
  double min_p = 0.0;
  std::optional<int64_t> seed;  // none: drawn from the engine's seed and the request's index
  int32_t n = 1;                // independent samples of one prompt
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;
  double repetition_penalty = 1.0;
  // (token id, added to its logit), each id once; taken as it is, where vLLM clamps to -100..100.
  std::vector<std::pair<int32_t, double>> logit_bias;
  std::optional<std::vector<int32_t>> allowed_token_ids;  // none: every id
  std::vector<std::string> bad_words;                     // as asked
  std::vector<std::vector<int32_t>> bad_word_ids;         // the same, tokenised by the engine
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  bool include_stop_str_in_output = false;
  bool ignore_eos = false;
  bool skip_special_tokens = true;
  bool detokenize = true;
  std::optional<int32_t> logprobs;         // k >= 0: report each output token's logprob and top k
  std::optional<int32_t> prompt_logprobs;  // k >= 0: the same for prompt tokens
  LogprobsMode logprobs_mode = LogprobsMode::kRaw;
};

// Checks every field against its range and `vocab_size`. An error names field, expected, found.
Status ValidateSamplingParams(const SamplingParams& params, int64_t vocab_size);

}  // namespace vexact

#endif  // VEXACT_REQUEST_SAMPLING_PARAMS_H_
