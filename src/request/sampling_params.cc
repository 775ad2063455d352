#include "request/sampling_params.h"

#include <cmath>
#include <string_view>
#include <unordered_set>

#include "request/token_ids.h"

namespace vexact {
namespace {

constexpr int32_t kMaxSamples = 16384;  // vLLM's VLLM_MAX_N_SEQUENCES
constexpr double kMaxPenalty = 2.0;

// The value as the kernels use it.
bool IsFiniteFloat(double value) { return std::isfinite(static_cast<float>(value)); }

Status CheckLengths(const SamplingParams& p) {
  if (p.max_tokens < 1) {
    return InvalidArgument("max_tokens: expected at least 1, found {}", p.max_tokens);
  }
  if (p.min_tokens < 0 || p.min_tokens > p.max_tokens) {
    return InvalidArgument("min_tokens: expected 0 to max_tokens ({}), found {}", p.max_tokens,
                           p.min_tokens);
  }
  if (p.n < 1 || p.n > kMaxSamples) {
    return InvalidArgument("n: expected 1 to {}, found {}", kMaxSamples, p.n);
  }
  return {};
}

Status CheckFilters(const SamplingParams& p) {
  if (!std::isfinite(p.temperature) || p.temperature < 0.0) {
    return InvalidArgument("temperature: expected a finite number of at least 0, found {}",
                           p.temperature);
  }
  if (!(p.top_p > 0.0 && p.top_p <= 1.0)) {
    return InvalidArgument("top_p: expected more than 0 and at most 1, found {}", p.top_p);
  }
  if (!(p.min_p >= 0.0 && p.min_p <= 1.0)) {
    return InvalidArgument("min_p: expected 0 to 1, found {}", p.min_p);
  }
  if (p.top_k < -1) {
    return InvalidArgument("top_k: expected at least 1, or 0 or -1 for every token, found {}",
                           p.top_k);
  }
  return {};
}

Status CheckPenalties(const SamplingParams& p) {
  if (!(std::fabs(p.presence_penalty) <= kMaxPenalty)) {
    return InvalidArgument("presence_penalty: expected -2 to 2, found {}", p.presence_penalty);
  }
  if (!(std::fabs(p.frequency_penalty) <= kMaxPenalty)) {
    return InvalidArgument("frequency_penalty: expected -2 to 2, found {}", p.frequency_penalty);
  }
  const bool usable =
      IsFiniteFloat(p.repetition_penalty) && static_cast<float>(p.repetition_penalty) > 0.0f;
  if (!usable) {
    return InvalidArgument("repetition_penalty: expected more than 0 and finite as fp32, found {}",
                           p.repetition_penalty);
  }
  return {};
}

Status CheckLogitBias(const SamplingParams& p, int64_t vocab_size) {
  std::unordered_set<int32_t> seen;
  for (const auto& [id, bias] : p.logit_bias) {
    VX_RETURN_IF_ERROR(CheckTokenIds("logit_bias", {id}, vocab_size));
    if (!IsFiniteFloat(bias)) {
      return InvalidArgument("logit_bias: token id {}: expected a number finite as fp32, found {}",
                             id, bias);
    }
    if (!seen.insert(id).second) {
      return InvalidArgument("logit_bias: expected each token id once, found {} twice", id);
    }
  }
  return {};
}

Status CheckWords(const SamplingParams& p, int64_t vocab_size) {
  for (const std::string& word : p.bad_words) {
    if (word.empty()) return InvalidArgument("bad_words: expected no empty word, found one");
  }
  for (const std::vector<int32_t>& ids : p.bad_word_ids) {
    if (ids.empty()) return InvalidArgument("bad_words: expected words of some tokens, found none");
    VX_RETURN_IF_ERROR(CheckTokenIds("bad_words", ids, vocab_size));
  }
  for (const std::string& stop : p.stop) {
    if (stop.empty()) return InvalidArgument("stop: expected no empty string, found one");
  }
  if (!p.stop.empty() && !p.detokenize) {
    return InvalidArgument("stop: expected none with detokenize false, found {}", p.stop.size());
  }
  return CheckTokenIds("stop_token_ids", p.stop_token_ids, vocab_size);
}

Status CheckLogprobs(std::string_view field, std::optional<int32_t> k, int64_t vocab_size) {
  if (k.has_value() && (*k < 0 || *k > vocab_size)) {
    return InvalidArgument("{}: expected 0 to the vocabulary's size ({}), found {}", field,
                           vocab_size, *k);
  }
  return {};
}

}  // namespace

Status ValidateSamplingParams(const SamplingParams& params, int64_t vocab_size) {
  VX_RETURN_IF_ERROR(CheckLengths(params));
  VX_RETURN_IF_ERROR(CheckFilters(params));
  VX_RETURN_IF_ERROR(CheckPenalties(params));
  VX_RETURN_IF_ERROR(CheckLogitBias(params, vocab_size));
  VX_RETURN_IF_ERROR(CheckWords(params, vocab_size));
  if (params.allowed_token_ids.has_value()) {
    if (params.allowed_token_ids->empty()) {
      return InvalidArgument("allowed_token_ids: expected at least one token id, found none");
    }
    VX_RETURN_IF_ERROR(CheckTokenIds("allowed_token_ids", *params.allowed_token_ids, vocab_size));
  }
  VX_RETURN_IF_ERROR(CheckLogprobs("logprobs", params.logprobs, vocab_size));
  return CheckLogprobs("prompt_logprobs", params.prompt_logprobs, vocab_size);
}

}  // namespace vexact
