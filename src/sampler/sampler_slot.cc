#include "sampler/sampler_slot.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace vexact {
namespace {

constexpr double kGreedyBelow = 1e-5;
constexpr double kLeastTemperature = 0.01;

// floor(top_p * 2^32 + 1/2), exactly: the sum of doubles could round up.
uint64_t ScaledTopP(double top_p) {
  const double scaled = top_p * 0x1p32;
  const double whole = std::floor(scaled);
  return static_cast<uint64_t>(whole) + (scaled - whole >= 0.5 ? 1 : 0);
}

SampleRow Resolve(const StartedSequence& started) {
  const SamplingParams& params = *started.params;
  SampleRow row;
  row.repetition = static_cast<float>(params.repetition_penalty);
  row.frequency = static_cast<float>(params.frequency_penalty);
  row.presence = static_cast<float>(params.presence_penalty);
  row.greedy = params.temperature < kGreedyBelow;
  if (!row.greedy) {
    const double temperature = std::max(params.temperature, kLeastTemperature);
    row.inverse_temperature = static_cast<float>(1.0 / temperature);
  }
  if (params.min_p > 0.0) row.log_min_p = static_cast<float>(std::log(params.min_p));
  row.top_k = std::max(params.top_k, 0);
  if (params.top_p < 1.0) row.top_p = ScaledTopP(params.top_p);
  row.seed = static_cast<uint64_t>(started.seed);
  row.sample_index = static_cast<uint32_t>(started.sample_index);
  return row;
}

}  // namespace

SamplerSlot::SamplerSlot(const StartedSequence& started, int64_t vocab_size, int64_t owner)
    : params_(started.params), resolved_(Resolve(started)) {
  resolved_.owner = owner;
  resolved_.num_prompt = static_cast<int32_t>(started.prompt_ids->size());
  num_output_ = static_cast<int32_t>(started.output_ids.size());

  std::vector<uint32_t> allowed;
  if (params_->allowed_token_ids.has_value()) {
    allowed.resize((vocab_size + 31) / 32);
    for (const int32_t id : *params_->allowed_token_ids) allowed[id / 32] |= 1u << (id % 32);
  }
  std::vector<TokenBias> bias;
  for (const auto& [id, value] : params_->logit_bias) {
    bias.push_back({id, static_cast<float>(value)});
  }
  std::vector<BadWord> words;
  std::vector<int32_t> word_ids;
  for (const std::vector<int32_t>& ids : params_->bad_word_ids) {
    words.push_back({static_cast<int32_t>(word_ids.size()), static_cast<int32_t>(ids.size())});
    word_ids.insert(word_ids.end(), ids.begin(), ids.end());
  }
  allowed_begin_ = AddConstants(allowed);
  bias_begin_ = AddConstants(bias);
  bad_words_begin_ = AddConstants(words);
  bad_word_ids_begin_ = AddConstants(word_ids);
  if (params_->min_tokens > 0) {
    banned_begin_ = AddConstants(started.stop_ids);
    num_stop_ids_ = static_cast<int32_t>(started.stop_ids.size());
  }
  resolved_.num_bias = static_cast<int32_t>(bias.size());
  resolved_.num_bad_words = static_cast<int32_t>(words.size());

  const bool has_penalties =
      resolved_.repetition != 1.0f || resolved_.frequency != 0.0f || resolved_.presence != 0.0f;
  if (has_penalties || !words.empty()) {
    known_tokens_ = *started.prompt_ids;
    known_tokens_.insert(known_tokens_.end(), started.output_ids.begin(), started.output_ids.end());
  }
}

template <typename T>
size_t SamplerSlot::AddConstants(const std::vector<T>& values) {
  constexpr size_t kWordBytes = 4;  // of a constant
  static_assert(sizeof(T) % kWordBytes == 0 && alignof(T) == kWordBytes);
  const size_t begin = constants_.size();
  constants_.resize(begin + values.size() * (sizeof(T) / kWordBytes));
  if (!values.empty()) {
    std::memcpy(constants_.data() + begin, values.data(), values.size() * sizeof(T));
  }
  return begin;
}

void SamplerSlot::Place(const uint32_t* constants, int32_t* tokens) {
  resolved_.tokens = tokens;
  if (params_->allowed_token_ids.has_value()) resolved_.allowed = constants + allowed_begin_;
  resolved_.bias = reinterpret_cast<const TokenBias*>(constants + bias_begin_);
  resolved_.bad_words = reinterpret_cast<const BadWord*>(constants + bad_words_begin_);
  resolved_.bad_word_ids = reinterpret_cast<const int32_t*>(constants + bad_word_ids_begin_);
  resolved_.banned = reinterpret_cast<const int32_t*>(constants + banned_begin_);
  constants_ = {};
  known_tokens_ = {};
  is_placed_ = true;
}

SampleRow SamplerSlot::RowAt(const LogitRow& row) {
  VX_CHECK(is_placed_);
  VX_CHECK(row.output_len >= 0 && row.output_len <= num_output_);
  VX_CHECK(!row.draws || row.output_len == num_output_);
  SampleRow result = resolved_;
  result.draws = row.draws || row.redraws;
  result.position = static_cast<uint32_t>(row.position);
  result.num_output = row.output_len;
  result.num_banned = row.output_len < params_->min_tokens ? num_stop_ids_ : 0;
  num_output_ += row.draws ? 1 : 0;
  return result;
}

}  // namespace vexact
