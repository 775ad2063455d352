#include "sampler/sampler_slot.h"

#include <algorithm>
#include <cmath>

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

// Whether the tokens before `word`'s last are the newest ones of output[0, output_len).
bool BansItsEnd(const std::vector<int32_t>& word, const std::vector<int32_t>& output,
                int32_t output_len) {
  const auto prefix_len = static_cast<int32_t>(word.size()) - 1;
  if (prefix_len > output_len) return false;
  return std::equal(word.begin(), word.end() - 1, output.begin() + (output_len - prefix_len));
}

}  // namespace

SamplerSlot::SamplerSlot(const StartedSequence& started, int64_t vocab_size)
    : params_(started.params),
      prompt_ids_(started.prompt_ids),
      output_ids_(started.output_ids),
      stop_ids_(started.stop_ids),
      resolved_(Resolve(started)) {
  if (params_->allowed_token_ids.has_value()) {
    allowed_.resize((vocab_size + 31) / 32);
    for (const int32_t id : *params_->allowed_token_ids) allowed_[id / 32] |= 1u << (id % 32);
    resolved_.allowed = allowed_.data();
  }
  for (const auto& [id, bias] : params_->logit_bias) {
    bias_.push_back({id, static_cast<float>(bias)});
  }
  resolved_.bias = bias_.data();
  resolved_.num_bias = static_cast<int32_t>(bias_.size());
  has_penalties_ =
      resolved_.repetition != 1.0f || resolved_.frequency != 0.0f || resolved_.presence != 0.0f;
}

void SamplerSlot::Count(int32_t id, int32_t occurrences) {
  const auto [entry, is_new] = count_index_.try_emplace(id, static_cast<int32_t>(counts_.size()));
  if (is_new) counts_.push_back({id, 0});
  counts_[entry->second].count += occurrences;
}

void SamplerSlot::CountTo(int32_t output_len) {
  if (output_len < counted_len_) {
    counts_.clear();
    count_index_.clear();
    counted_len_ = 0;
  }
  if (counts_.empty() && resolved_.repetition != 1.0f) {
    for (const int32_t id : *prompt_ids_) Count(id, 0);
  }
  for (; counted_len_ < output_len; ++counted_len_) Count(output_ids_[counted_len_], 1);
}

SampleRow SamplerSlot::RowAt(const LogitRow& row, RowArrays* arrays) {
  VX_CHECK(row.output_len >= 0 && row.output_len <= output_len());
  VX_CHECK(!row.draws || row.output_len == output_len());
  SampleRow result = resolved_;
  result.draws = row.draws || row.redraws;
  result.position = static_cast<uint32_t>(row.position);

  arrays->banned.clear();
  for (const std::vector<int32_t>& word : params_->bad_word_ids) {
    if (BansItsEnd(word, output_ids_, row.output_len)) arrays->banned.push_back(word.back());
  }
  if (row.output_len < params_->min_tokens) {
    arrays->banned.insert(arrays->banned.end(), stop_ids_.begin(), stop_ids_.end());
  }
  result.banned = arrays->banned.data();
  result.num_banned = static_cast<int32_t>(arrays->banned.size());

  arrays->history.clear();
  if (has_penalties_) {
    CountTo(row.output_len);
    arrays->history = counts_;
  }
  result.history = arrays->history.data();
  result.num_history = static_cast<int32_t>(arrays->history.size());
  return result;
}

}  // namespace vexact
