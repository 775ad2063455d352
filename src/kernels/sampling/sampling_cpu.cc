// Sampling without sorting: the filters only need the key of the last token that they keep (values
// and ids give every token of a row its place), found among the candidates that a bound leaves.
// What is slow about a row is one pass that sums its softmax (SumRow); a row that no parameter
// changes uses the sums of its raw logits.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "base/philox.h"
#include "kernels/logprob/candidates_cpu.h"
#include "kernels/logprob/logprob_value.h"
#include "kernels/logprob/row_scan_cpu.h"
#include "kernels/sampling/sampling.h"
#include "kernels/sampling/sampling_value.h"

namespace vexact {
namespace {

using Uint128 = unsigned __int128;

// One thread's arrays.
struct Scratch {
  explicit Scratch(int64_t vocab)
      : y(vocab), block_max(NumVocabBlocks(vocab)), block_sums(NumVocabBlocks(vocab)) {}

  std::vector<float> y;              // [vocab]
  std::vector<float> block_max;      // [blocks]
  std::vector<uint64_t> block_sums;  // [blocks]
  std::vector<int32_t> counts;       // [vocab], all 0 between rows; empty until a row needs it
};

struct ValueFault {
  int32_t id = -1;
  float value = 0.0f;

  void Add(int32_t new_id, float new_value) {
    if (id < 0 || new_id < id) *this = {new_id, new_value};
  }
};

// y <- z with the forbidden ids dropped.
void Forbid(const SampleRow& row, const float* z, std::vector<float>* y) {
  const auto vocab = static_cast<int64_t>(y->size());
  if (row.allowed == nullptr) {
    std::copy(z, z + vocab, y->begin());
  } else {
    std::fill(y->begin(), y->end(), kDropped);
    for (int64_t word = 0; word * 32 < vocab; ++word) {
      for (uint32_t bits = row.allowed[word]; bits != 0; bits &= bits - 1) {
        const int64_t id = word * 32 + std::countr_zero(bits);
        (*y)[id] = z[id];
      }
    }
  }
  for (int32_t n = 0; n < row.num_banned; ++n) (*y)[row.banned[n]] = kDropped;
  for (int32_t n = 0; n < row.num_bad_words; ++n) {
    const BadWord& word = row.bad_words[n];
    if (!ForbidsItsEnd(row, word)) continue;
    (*y)[row.bad_word_ids[word.begin + word.length - 1]] = kDropped;
  }
}

// The tokens that penalties read are [FirstPenalised, num_prompt + num_output).
int32_t FirstPenalised(const SampleRow& row) { return row.repetition == 1.0f ? row.num_prompt : 0; }

// Calls visit(id, occurrences in the output) once for each id that penalties read.
template <typename Visit>
void VisitCounts(const SampleRow& row, std::vector<int32_t>& counts, Visit visit) {
  constexpr int32_t kInPrompt = 1 << 30;  // above every count
  const int32_t end = row.num_prompt + row.num_output;
  const int32_t first = FirstPenalised(row);
  for (int32_t n = first; n < row.num_prompt; ++n) counts[row.tokens[n]] = kInPrompt;
  for (int32_t n = row.num_prompt; n < end; ++n) ++counts[row.tokens[n]];
  for (int32_t n = first; n < end; ++n) {
    const int32_t count = std::exchange(counts[row.tokens[n]], 0);
    if (count != 0) visit(row.tokens[n], count % kInPrompt);
  }
}

// Bias and penalties of the ids that have them, whose y will be `factor` times what is left in z. A
// -inf that the arithmetic makes is caught here: later it would look like a dropped id.
void Penalise(const SampleRow& row, float factor, Scratch* scratch, ValueFault* fault) {
  float* const z = scratch->y.data();
  const auto check = [&](int32_t id, float value) {
    if (!std::isfinite(value * factor)) fault->Add(id, value * factor);
  };
  // An infinity stays one, or becomes NaN, in every later step.
  const auto set = [&](int32_t id, float value) {
    z[id] = value;
    if (!std::isfinite(value)) check(id, value);
  };
  for (int32_t n = 0; n < row.num_bias; ++n) {
    const auto [id, bias] = row.bias[n];
    if (z[id] != kDropped) set(id, z[id] + bias);
  }
  const auto check_left = [&](int32_t id) {
    if (z[id] != kDropped) check(id, z[id]);
  };
  if (IsPenalised(row)) {
    scratch->counts.resize(scratch->y.size());
    VisitCounts(row, scratch->counts, [&](int32_t id, int32_t count) {
      float value = z[id];
      if (value == kDropped) return;
      value = value > 0.0f ? value / row.repetition : value * row.repetition;
      if (count > 0) {
        const float frequent = row.frequency * static_cast<float>(count);
        value = value - frequent;
        value = value - row.presence;
      }
      set(id, value);
      check_left(id);
    });
  }
  for (int32_t n = 0; n < row.num_bias; ++n) check_left(row.bias[n].id);
}

// The key of the last of `candidates`, whose weights are set, that top-p keeps.
uint64_t TopPCut(std::span<Candidate> candidates, uint64_t wanted) {
  uint64_t before = 0;  // weight of what is known to be kept
  while (candidates.size() > 1) {
    const size_t half = candidates.size() / 2;
    PartitionTop(candidates, static_cast<int64_t>(half));
    uint64_t weight = 0;
    for (const Candidate& candidate : candidates.first(half)) weight += candidate.weight;
    if (before + weight >= wanted) {
      candidates = candidates.first(half);
    } else {
      before += weight;
      candidates = candidates.subspan(half);
    }
  }
  return candidates.front().key;
}

uint64_t WeighCandidates(CpuTarget target, int32_t exponent, std::span<Candidate> candidates) {
  std::vector<float> values(candidates.size());
  std::vector<uint64_t> weights(candidates.size());
  for (size_t n = 0; n < candidates.size(); ++n) values[n] = ValueOfKey(candidates[n].key);
  ComputeTerms(target, values.data(), static_cast<int64_t>(values.size()), exponent,
               weights.data());
  uint64_t sum = 0;
  for (size_t n = 0; n < candidates.size(); ++n) {
    candidates[n].weight = weights[n];
    sum += weights[n];
  }
  return sum;
}

// A value below which the tokens of a row do not reach `tail` together: n tokens of weight under
// tail / n. SoftmaxTerm(y) < 2^(44 - c) for y * log2 e - M < -c.
float LeastOfNucleus(int32_t exponent, int64_t vocab, uint64_t tail) {
  const int c = 44 + std::bit_width(static_cast<uint64_t>(vocab)) + 1 - std::bit_width(tail);
  return (static_cast<float>(exponent) - static_cast<float>(c)) / kLog2E;
}

// top-p over a row of which min-p keeps what is at least `least`.
uint64_t TopPCutOfRow(CpuTarget target, const ScannedRow& row, float least, float max,
                      uint64_t top_p) {
  const int32_t exponent = SoftmaxExponent(max);
  std::vector<Candidate> candidates;
  if (least > -kLogitLimit) {  // min-p has left few
    candidates = SelectCandidates(target, row, least);
    const uint64_t sum = WeighCandidates(target, exponent, candidates);
    return TopPCut(candidates, WantedWeight(sum, top_p));
  }
  const uint64_t sum = SumTerms(target, row.y, row.vocab, exponent);
  const uint64_t wanted = WantedWeight(sum, top_p);
  if (wanted < sum) {
    // The estimate is in fp32, so what it leaves is weighed.
    const float bound = std::min(max, LeastOfNucleus(exponent, row.vocab, sum - wanted));
    candidates = SelectCandidates(target, row, std::max(bound, -kLogitLimit));
    if (WeighCandidates(target, exponent, candidates) >= wanted) {
      return TopPCut(candidates, wanted);
    }
  }
  candidates = SelectCandidates(target, row, -kLogitLimit);
  WeighCandidates(target, exponent, candidates);
  return TopPCut(candidates, wanted);
}

// The key of the last token that min-p, top-k and top-p keep.
uint64_t FilterCut(CpuTarget target, const SampleRow& row, const ScannedRow& scanned, float max) {
  const float least = std::max(max + row.log_min_p, -kLogitLimit);
  const uint64_t min_p_cut = CandidateKey(least, std::numeric_limits<int32_t>::max());
  if (row.top_k <= 0 || row.top_k >= scanned.vocab) {
    return row.top_p == kTopPOff ? min_p_cut : TopPCutOfRow(target, scanned, least, max, row.top_p);
  }
  std::vector<Candidate> candidates =
      SelectCandidates(target, scanned, std::max(least, LeastOfTop(scanned, row.top_k)));
  if (static_cast<int64_t>(candidates.size()) > row.top_k) {
    PartitionTop(candidates, row.top_k);
    candidates.resize(row.top_k);
  }
  if (row.top_p == kTopPOff) {
    uint64_t last = 0;
    for (const Candidate& candidate : candidates) last = std::max(last, candidate.key);
    return last;
  }
  const uint64_t sum = WeighCandidates(target, SoftmaxExponent(max), candidates);
  return TopPCut(candidates, WantedWeight(sum, row.top_p));
}

// Drops what comes after `cut`.
void ApplyCut(CpuTarget target, uint64_t cut, const float* block_max, std::vector<float>* y) {
  const float least = ValueOfKey(cut);
  const auto vocab = static_cast<int64_t>(y->size());
  DropBelow(target, y->data(), vocab, least);
  int64_t id = static_cast<int64_t>(IdOfKey(cut)) + 1;
  while (id < vocab) {  // equal values after the last kept id
    const int64_t end = std::min((id / kVocabBlock + 1) * kVocabBlock, vocab);
    if (block_max[id / kVocabBlock] >= least) {
      std::replace(y->begin() + id, y->begin() + end, least, kDropped);
    }
    id = end;
  }
}

struct SummedRow {
  const float* y;
  const LogitSums& sums;
  const float* block_max;
  const uint64_t* block_sums;
};

uint64_t HighProduct(uint32_t low, uint32_t high, uint64_t sum) {
  const uint64_t random = (static_cast<uint64_t>(high) << 32) | low;
  return static_cast<uint64_t>((static_cast<Uint128>(random) * sum) >> 64);
}

int32_t Draw(const SampleRow& row, const SummedRow& summed) {
  const PhiloxCounter w = Philox4x32({0, row.position, row.sample_index, 0}, row.seed);
  const uint64_t u = HighProduct(w[0], w[1], summed.sums.sum);
  uint64_t cumulative = 0;
  int64_t block = -1;
  int32_t exponent = 0;
  while (cumulative <= u) {
    ++block;
    if (summed.block_max[block] == kDropped) continue;
    exponent = SoftmaxExponent(summed.block_max[block]);
    cumulative += BlockShare(summed.block_sums[block], summed.sums.exponent - exponent);
  }
  const uint64_t v = HighProduct(w[2], w[3], summed.block_sums[block]);
  int64_t id = block * kVocabBlock - 1;
  for (cumulative = 0; cumulative <= v;) {
    ++id;
    cumulative += SoftmaxTerm(summed.y[id], exponent);
  }
  return static_cast<int32_t>(id);
}

// A row that no parameter changes: its raw sums are those of y.
SampleOutcome SampleUnchanged(const SampleRow& row, const SampleArgs& args) {
  SampleOutcome outcome;
  const LogitSums& sums = args.sums[row.row];
  if (!row.draws) return outcome;
  outcome.token = row.greedy ? sums.argmax
                             : Draw(row, {args.logits[row.row], sums, args.block_max[row.row],
                                          args.block_sums[row.row]});
  return outcome;
}

SampleOutcome SampleOne(CpuTarget target, const SampleRow& row, const SampleArgs& args,
                        Scratch* scratch) {
  if (HasFailedBefore(args, row)) return {-1, SampleFault::kEarlier};
  const LogitSums& raw = args.sums[row.row];
  if (raw.fault_id >= 0) return {-1, SampleFault::kLogits, raw.fault_id, raw.fault_value};
  const int64_t vocab = args.logits.cols;
  if (!IsChanged(row, vocab)) return SampleUnchanged(row, args);

  const float factor = FactorOf(row);
  const float* z = args.logits[row.row];
  ValueFault fault;
  if (IsEdited(row)) {
    Forbid(row, z, &scratch->y);
    Penalise(row, factor, scratch, &fault);
    z = scratch->y.data();
  }
  const int32_t scaled_fault =
      ScaleRow(target, z, vocab, factor, scratch->y.data(), scratch->block_max.data());
  if (scaled_fault >= 0) fault.Add(scaled_fault, scratch->y[scaled_fault]);
  if (fault.id >= 0) return {-1, SampleFault::kValue, fault.id, fault.value};
  const float max = *std::max_element(scratch->block_max.begin(), scratch->block_max.end());
  if (max == kDropped) return {-1, SampleFault::kNothingAllowed, -1, 0.0f};

  const ScannedRow scanned{scratch->y.data(), scratch->block_max.data(), vocab};
  if (IsFiltered(row, vocab)) {
    const uint64_t cut = FilterCut(target, row, scanned, max);
    ApplyCut(target, cut, scratch->block_max.data(), &scratch->y);
  }
  SampleOutcome outcome;
  if (row.greedy && !row.keeps_processed) {
    outcome.token = row.draws ? ArgMax(scanned, max) : -1;
    return outcome;
  }
  LogitSums sums;
  SumRow(target, scratch->y.data(), vocab, true,
         {&sums, scratch->block_max.data(), scratch->block_sums.data()});
  if (row.draws) {
    outcome.token = row.greedy ? sums.argmax
                               : Draw(row, {scratch->y.data(), sums, scratch->block_max.data(),
                                            scratch->block_sums.data()});
  }
  if (row.keeps_processed) {
    std::copy(scratch->y.begin(), scratch->y.end(), args.logits[row.row]);
    args.sums[row.row] = sums;
    std::copy(scratch->block_max.begin(), scratch->block_max.end(), args.block_max[row.row]);
    std::copy(scratch->block_sums.begin(), scratch->block_sums.end(), args.block_sums[row.row]);
  }
  return outcome;
}

}  // namespace

void SampleCpu(CpuTarget target, const SampleArgs& args, Stream& stream) {
  CheckPromises(args);
  // Each lane takes the next row until none is left, in one set of arrays.
  std::atomic<int64_t> next{0};
  const int64_t lanes = std::min<int64_t>(args.num_rows, stream.pool->num_threads());
  stream.pool->ParallelFor(lanes, [&](int64_t) {
    Scratch scratch(args.logits.cols);
    for (int64_t n = next++; n < args.num_rows; n = next++) {
      StoreOutcome(args, n, SampleOne(target, args.rows[n], args, &scratch));
    }
  });
}

}  // namespace vexact
