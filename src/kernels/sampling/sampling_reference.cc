#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <vector>

#include "base/check.h"
#include "base/philox.h"
#include "kernels/logprob/logprob_value.h"
#include "kernels/sampling/sampling.h"

namespace vexact {
namespace {

using Uint128 = unsigned __int128;

// A row on its way: the values, and which of them are still candidates.
struct Candidates {
  std::vector<float> y;
  std::vector<bool> kept;

  int64_t size() const { return static_cast<int64_t>(y.size()); }
  // The kept ids, y descending, ids ascending.
  std::vector<int32_t> Ordered() const {
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < size(); ++i) {
      if (kept[i]) ids.push_back(i);
    }
    std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return y[a] > y[b]; });
    return ids;
  }
  void KeepOnly(const std::vector<int32_t>& ids) {
    std::fill(kept.begin(), kept.end(), false);
    for (const int32_t id : ids) kept[id] = true;
  }
};

bool EndsBefore(const SampleRow& row, const BadWord& word) {
  const int32_t beginning = word.length - 1;
  if (beginning > row.num_output) return false;
  const int32_t* const newest = row.tokens + row.num_prompt + row.num_output - beginning;
  return std::equal(newest, newest + beginning, row.bad_word_ids + word.begin);
}

void Forbid(const SampleRow& row, Candidates* c) {
  for (int32_t i = 0; row.allowed != nullptr && i < c->size(); ++i) {
    if (((row.allowed[i / 32] >> (i % 32)) & 1u) == 0) c->kept[i] = false;
  }
  for (int32_t n = 0; n < row.num_banned; ++n) c->kept[row.banned[n]] = false;
  for (int32_t n = 0; n < row.num_bad_words; ++n) {
    const BadWord& word = row.bad_words[n];
    if (EndsBefore(row, word)) c->kept[row.bad_word_ids[word.begin + word.length - 1]] = false;
  }
}

// Occurrences in the output of every id that the sequence holds.
std::map<int32_t, int32_t> CountTokens(const SampleRow& row) {
  std::map<int32_t, int32_t> counts;
  if (row.repetition != 1.0f) {
    for (int32_t n = 0; n < row.num_prompt; ++n) counts.emplace(row.tokens[n], 0);
  }
  for (int32_t n = 0; n < row.num_output; ++n) ++counts[row.tokens[row.num_prompt + n]];
  return counts;
}

void Penalise(const SampleRow& row, Candidates* c) {
  std::vector<float>& z = c->y;
  for (int32_t n = 0; n < row.num_bias; ++n) z[row.bias[n].id] += row.bias[n].bias;
  if (!IsPenalised(row)) return;  // the tokens may be anything
  for (const auto& [id, count] : CountTokens(row)) {
    float& value = z[id];
    value = value > 0.0f ? value / row.repetition : value * row.repetition;
    if (count == 0) continue;
    const float frequent = row.frequency * static_cast<float>(count);
    value = value - frequent;
    value = value - row.presence;
  }
}

float Largest(const Candidates& c) { return c.y[c.Ordered().front()]; }

void MinP(float log_min_p, Candidates* c) {
  const float least = Largest(*c) + log_min_p;
  for (int64_t i = 0; i < c->size(); ++i) {
    if (c->y[i] < least) c->kept[i] = false;
  }
}

void TopK(int32_t k, Candidates* c) {
  std::vector<int32_t> ids = c->Ordered();
  ids.resize(std::min(ids.size(), static_cast<size_t>(k)));
  c->KeepOnly(ids);
}

void TopP(uint64_t top_p, Candidates* c) {
  std::vector<int32_t> ids = c->Ordered();
  const int32_t exponent = SoftmaxExponent(c->y[ids.front()]);
  uint64_t sum = 0;
  for (const int32_t id : ids) sum += SoftmaxTerm(c->y[id], exponent);
  const Uint128 scaled = static_cast<Uint128>(sum) * top_p;
  const uint64_t rounded_up = static_cast<uint64_t>((scaled + 0xffffffffu) >> 32);
  const uint64_t wanted = std::max<uint64_t>(1, rounded_up);
  uint64_t before = 0;
  size_t count = 0;
  while (count < ids.size() && before < wanted) {
    before += SoftmaxTerm(c->y[ids[count]], exponent);
    ++count;
  }
  ids.resize(count);
  c->KeepOnly(ids);
}

uint64_t HighProduct(uint32_t low, uint32_t high, uint64_t sum) {
  const uint64_t random = (static_cast<uint64_t>(high) << 32) | low;
  return static_cast<uint64_t>((static_cast<Uint128>(random) * sum) >> 64);
}

int32_t Draw(const SampleRow& row, const Candidates& c, const LogitSums& sums,
             const float* block_max, const uint64_t* block_sums) {
  const PhiloxCounter w = Philox4x32({0, row.position, row.sample_index, 0}, row.seed);
  const uint64_t u = HighProduct(w[0], w[1], sums.sum);
  int64_t block = -1;
  for (uint64_t cumulative = 0; cumulative <= u;) {
    ++block;
    if (block_max[block] == kDropped) continue;
    const int32_t distance = sums.exponent - SoftmaxExponent(block_max[block]);
    cumulative += BlockShare(block_sums[block], distance);
  }
  const uint64_t v = HighProduct(w[2], w[3], block_sums[block]);
  const int32_t exponent = SoftmaxExponent(block_max[block]);
  int64_t id = block * kVocabBlock - 1;
  for (uint64_t cumulative = 0; cumulative <= v;) {
    ++id;
    if (c.kept[id]) cumulative += SoftmaxTerm(c.y[id], exponent);
  }
  return static_cast<int32_t>(id);
}

// The processed values' fault, if there is one.
SampleOutcome CheckValues(const Candidates& c) {
  SampleOutcome outcome;
  outcome.fault = SampleFault::kNothingAllowed;
  for (int32_t i = 0; i < c.size(); ++i) {
    if (!c.kept[i]) continue;
    outcome.fault = SampleFault::kNone;
    if (std::fabs(c.y[i]) < kLogitLimit) continue;
    return SampleOutcome{-1, SampleFault::kValue, i, c.y[i]};
  }
  return outcome;
}

SampleOutcome SampleOne(const SampleRow& row, const SampleArgs& args, Stream& stream) {
  const int64_t vocab = args.logits.cols;
  float* const logits = args.logits[row.row];
  if (HasFailedBefore(args, row)) return {-1, SampleFault::kEarlier};
  const LogitSums& raw = args.sums[row.row];
  if (raw.fault_id >= 0) return {-1, SampleFault::kLogits, raw.fault_id, raw.fault_value};
  Candidates c{std::vector<float>(logits, logits + vocab), std::vector<bool>(vocab, true)};
  Forbid(row, &c);
  Penalise(row, &c);
  for (float& y : c.y) {
    if (!row.greedy) y = y * row.inverse_temperature;
  }
  SampleOutcome outcome = CheckValues(c);
  if (outcome.fault != SampleFault::kNone) return outcome;
  if (!row.greedy) {
    if (row.log_min_p != kDropped) MinP(row.log_min_p, &c);
    if (row.top_k > 0 && row.top_k < vocab) TopK(row.top_k, &c);
    if (row.top_p != kTopPOff) TopP(row.top_p, &c);
  }
  for (int64_t i = 0; i < vocab; ++i) {
    if (!c.kept[i]) c.y[i] = kDropped;
  }
  LogitSums sums;
  std::vector<float> block_max(NumVocabBlocks(vocab));
  std::vector<uint64_t> block_sums(NumVocabBlocks(vocab));
  SumLogitsReference({.logits = {c.y.data(), 1, vocab},
                      .has_dropped = true,
                      .sums = &sums,
                      .block_max = {block_max.data(), 1, NumVocabBlocks(vocab)},
                      .block_sums = {block_sums.data(), 1, NumVocabBlocks(vocab)}},
                     stream);
  if (row.draws) {
    outcome.token =
        row.greedy ? sums.argmax : Draw(row, c, sums, block_max.data(), block_sums.data());
  }
  if (row.keeps_processed) {
    std::copy(c.y.begin(), c.y.end(), logits);
    args.sums[row.row] = sums;
    std::copy(block_max.begin(), block_max.end(), args.block_max[row.row]);
    std::copy(block_sums.begin(), block_sums.end(), args.block_sums[row.row]);
  }
  return outcome;
}

}  // namespace

void CheckPromises(const SampleArgs& args) {
  for (int64_t n = 0; n < args.num_rows; ++n) {
    const SampleRow& row = args.rows[n];
    const bool plain = !IsChanged(row, args.logits.cols) && !row.keeps_processed;
    VX_CHECK(plain || !args.all_plain, "plain rows alone");
    VX_CHECK(n < args.num_edited || !IsEdited(row), "edited rows before all others");
  }
}

void SampleReference(const SampleArgs& args, Stream& stream) {
  CheckPromises(args);
  for (int64_t n = 0; n < args.num_rows; ++n) {
    StoreOutcome(args, n, SampleOne(args.rows[n], args, stream));
  }
}

}  // namespace vexact
