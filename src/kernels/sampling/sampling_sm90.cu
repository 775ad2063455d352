// budget: the four kernels share how a row is edited, scaled and cut
// Rows that no parameter changes are drawn from the sums of their raw logits: a few loads. The
// others go through four kernels that a row leaves as soon as it needs nothing of them. The first
// two, and the scratch for logits, are for the first rows alone, as far as any may be edited.
//   1. CopyKernel      edited rows: logits to scratch, without the ids that are not allowed
//   2. PenaliseKernel  edited rows: forbidden ids, bias, penalties
//   3. ScanKernel      changed rows: the sums of their blocks, scaled by temperature as they are
//   read
//   4. SampleKernel    a CTA a row: fault check, filters, draw
// Scaled values are never stored: every pass multiplies again what lies in logits or scratch.
#include <algorithm>

#include "base/check.h"
#include "base/philox.h"
#include "kernels/sampling/sampling.h"
#include "kernels/sampling/sampling_value.h"
#include "kernels/sm90/logit_blocks.cuh"
#include "kernels/sm90/overlapped_launch.cuh"
#include "kernels/sm90/scratch.cuh"
#include "kernels/sm90/select.cuh"

namespace vexact {
namespace {

constexpr int kPlainThreads = 256;
constexpr int kSampleThreads = 512;
constexpr int kEditThreads = 256;
// A thread takes every so manyth token of the history, three times: long ones want many.
constexpr int kPenaliseThreads = 512;

// An infinity that bias or penalties made of an allowed logit; -inf itself marks a dropped id.
constexpr uint32_t kMadeMinusInfinity = 0xffffffffu;

// Arrays of the rows that are changed, by their place in SampleArgs::rows.
struct SampleScratch {
  Rows<uint64_t> block_sums;  // [num_rows, blocks]
  Rows<float> block_max;      // [num_rows, blocks]
  Rows<float> edited;         // [num_edited, vocab]
  Rows<int32_t> counts;       // [num_edited, vocab]: of the ids that penalties read

  // Lays them out from `data` on; returns their end.
  char* Place(char* data, int64_t num_rows, int64_t num_edited, int64_t vocab) {
    const int64_t blocks = NumVocabBlocks(vocab);
    const int64_t stride = (vocab + 3) / 4 * 4;  // 16-byte words
    edited = {reinterpret_cast<float*>(data), num_edited, vocab, stride};
    data += num_edited * stride * static_cast<int64_t>(sizeof(float));
    counts = {reinterpret_cast<int32_t*>(data), num_edited, vocab, stride};
    data += num_edited * stride * static_cast<int64_t>(sizeof(int32_t));
    block_sums = {reinterpret_cast<uint64_t*>(data), num_rows, blocks};
    data += num_rows * blocks * static_cast<int64_t>(sizeof(uint64_t));
    block_max = {reinterpret_cast<float*>(data), num_rows, blocks};
    return data + num_rows * blocks * static_cast<int64_t>(sizeof(float));
  }
};

__device__ bool HasLogitFault(const SampleArgs& args, const SampleRow& row) {
  return args.sums[row.row].fault_id >= 0;
}

__device__ sm90::ScaledLogits RawLogits(const SampleArgs& args, const SampleRow& row) {
  return {args.logits[row.row], static_cast<int>(args.logits.cols), 1.0f, true};
}
__device__ sm90::ScaledLogits ChangedLogits(const SampleArgs& args, const SampleScratch& scratch,
                                            int64_t n) {
  const SampleRow& row = args.rows[n];
  const float* const z = IsEdited(row) ? scratch.edited[n] : args.logits[row.row];
  return {z, static_cast<int>(args.logits.cols), FactorOf(row), true};
}

// CTA (n, part): kEditThreads threads of four ids each.
__global__ void __launch_bounds__(kEditThreads) CopyKernel(SampleArgs args, SampleScratch scratch) {
  sm90::BeginOverlapped();
  const SampleRow& row = args.rows[blockIdx.x];
  if (!IsEdited(row) || HasLogitFault(args, row)) return;
  const auto vocab = static_cast<int>(args.logits.cols);
  const int block = static_cast<int>(blockIdx.y) * (kEditThreads / sm90::kWarp) + sm90::WarpIndex();
  const int first = sm90::FirstIdOfLane(block);
  if (first >= vocab) return;
  const uint32_t bits = row.allowed == nullptr ? 0xfu : row.allowed[first / 32] >> (first % 32);
  sm90::LaneLogits logits = sm90::LoadLogits(RawLogits(args, row), block);
#pragma unroll
  for (int i = 0; i < sm90::kLaneIds; ++i) {
    if (((bits >> i) & 1u) == 0) logits.z[i] = kDropped;
  }
  // The stride leaves room for whole words.
  *reinterpret_cast<float4*>(scratch.edited[blockIdx.x] + first) = {logits.z[0], logits.z[1],
                                                                    logits.z[2], logits.z[3]};
}

// Applies edit(value) to an id's logit, unless it is dropped.
template <typename Edit>
__device__ void EditLogit(float* z, Edit edit) {
  float value = *z;
  if (value == kDropped) return;
  if (__float_as_uint(value) == kMadeMinusInfinity) value = kDropped;
  value = edit(value);
  *z = value == kDropped ? __uint_as_float(kMadeMinusInfinity) : value;
}

__device__ float Penalised(const SampleRow& row, int32_t count, float z) {
  z = z > 0.0f ? __fdiv_rn(z, row.repetition) : __fmul_rn(z, row.repetition);
  if (count == 0) return z;
  z = __fsub_rn(z, __fmul_rn(row.frequency, static_cast<float>(count)));
  return __fsub_rn(z, row.presence);
}

// Every thread of the row's CTA. Counts the tokens in `counts`, which may hold anything before: an
// id belongs to the first thread that takes its count.
__device__ void PenaliseTokens(const SampleRow& row, int32_t* counts, float* z) {
  constexpr int32_t kInPrompt = 1 << 30;  // above every count
  const int first = (row.repetition == 1.0f ? row.num_prompt : 0) + static_cast<int>(threadIdx.x);
  const int end = row.num_prompt + row.num_output;
  for (int n = first; n < end; n += kPenaliseThreads) counts[row.tokens[n]] = 0;
  __syncthreads();
  for (int n = first; n < end; n += kPenaliseThreads) {
    if (n < row.num_prompt) {
      atomicOr(counts + row.tokens[n], kInPrompt);
    } else {
      atomicAdd(counts + row.tokens[n], 1);
    }
  }
  __syncthreads();
  for (int n = first; n < end; n += kPenaliseThreads) {
    const int32_t id = row.tokens[n];
    const int32_t count = atomicExch(counts + id, 0);
    if (count == 0) continue;
    EditLogit(z + id, [&](float value) { return Penalised(row, count % kInPrompt, value); });
  }
}

// A CTA for each row. An id is at most once in bias.
__global__ void __launch_bounds__(kPenaliseThreads)
    PenaliseKernel(SampleArgs args, SampleScratch scratch) {
  sm90::BeginOverlapped();
  const SampleRow& row = args.rows[blockIdx.x];
  if (!IsEdited(row) || HasLogitFault(args, row)) return;
  float* const z = scratch.edited[blockIdx.x];
  const auto thread = static_cast<int>(threadIdx.x);
  for (int n = thread; n < row.num_banned; n += kPenaliseThreads) z[row.banned[n]] = kDropped;
  for (int n = thread; n < row.num_bad_words; n += kPenaliseThreads) {
    const BadWord word = row.bad_words[n];
    if (ForbidsItsEnd(row, word)) z[row.bad_word_ids[word.begin + word.length - 1]] = kDropped;
  }
  __syncthreads();
  for (int n = thread; n < row.num_bias; n += kPenaliseThreads) {
    const TokenBias bias = row.bias[n];
    EditLogit(z + bias.id, [&](float value) { return __fadd_rn(value, bias.bias); });
  }
  __syncthreads();
  if (IsPenalised(row)) PenaliseTokens(row, scratch.counts[blockIdx.x], z);
}

__global__ void __launch_bounds__(sm90::kScanThreads)
    ScanKernel(SampleArgs args, SampleScratch scratch) {
  sm90::BeginOverlapped();
  const int64_t n = blockIdx.x;
  if (!IsChanged(args.rows[n], args.logits.cols) || HasLogitFault(args, args.rows[n])) return;
  sm90::ScanBlocks(ChangedLogits(args, scratch, n), {scratch.block_max[n], scratch.block_sums[n]});
}

// floor(random * sum / 2^64).
__device__ uint64_t HighProduct(uint32_t low, uint32_t high, uint64_t sum) {
  return __umul64hi((uint64_t{high} << 32) | low, sum);
}

// The index in [0, count) of the first block whose share makes the running sum exceed u, which is
// less than all shares together; in every thread. Each thread sums neighbouring blocks.
template <int kThreads>
__device__ int DrawBlock(const sm90::RowBlocks& blocks, int count, int32_t exponent, uint64_t u) {
  __shared__ int drawn;
  const auto share = [&](int b) {
    const float max = blocks.max[b];
    return max == kDropped ? 0 : BlockShare(blocks.sums[b], exponent - SoftmaxExponent(max));
  };
  const int each = (count + kThreads - 1) / kThreads;
  const int begin = min(count, static_cast<int>(threadIdx.x) * each);
  const int end = min(count, begin + each);
  uint64_t sum = 0;
  for (int b = begin; b < end; ++b) sum += share(b);
  const uint64_t running = sm90::RunningSumOfCta<kThreads>(sum);
  if (running > u && running - sum <= u) {
    uint64_t cumulative = running - sum;
    int b = begin;
    while ((cumulative += share(b)) <= u) ++b;
    drawn = b;
  }
  __syncthreads();
  return drawn;
}

// The token that the row draws among those of orders from `cut` on; blocks and sums are theirs.
template <int kThreads>
__device__ int32_t Draw(const SampleRow& row, const sm90::ScaledLogits& logits,
                        const sm90::RowBlocks& blocks, const LogitSums& sums,
                        sm90::TokenOrder cut) {
  const PhiloxCounter w = Philox4x32({0, row.position, row.sample_index, 0}, row.seed);
  const uint64_t u = HighProduct(w[0], w[1], sums.sum);
  const int block = DrawBlock<kThreads>(blocks, logits.blocks(), sums.exponent, u);
  const uint64_t v = HighProduct(w[2], w[3], blocks.sums[block]);
  const float minus_exponent = -static_cast<float>(SoftmaxExponent(blocks.max[block]));

  // Every warp finds the token in its block.
  const sm90::LaneValues values = sm90::ValuesOf(logits, block, sm90::LoadLogits(logits, block));
  const int first = sm90::FirstIdOfLane(block);
  uint64_t terms[sm90::kLaneIds];
  uint64_t sum = 0;
#pragma unroll
  for (int i = 0; i < sm90::kLaneIds; ++i) {
    const bool kept = sm90::OrderOf(values.y[i], first + i) >= cut;
    terms[i] = kept ? sm90::SoftmaxTermOf(values.y[i], minus_exponent) : 0;
    sum += terms[i];
  }
  uint64_t cumulative = sm90::RunningSumOfWarp(sum) - sum;
  int token = INT32_MAX;
#pragma unroll
  for (int i = 0; i < sm90::kLaneIds; ++i) {
    cumulative += terms[i];
    if (cumulative > v) token = min(token, first + i);
  }
  return __reduce_min_sync(sm90::kAllLanes, token);
}

// A row that no parameter changes.
template <int kThreads>
__device__ SampleOutcome SampleUnchanged(const SampleArgs& args, const SampleRow& row) {
  SampleOutcome outcome;
  if (HasFailedBefore(args, row)) return {-1, SampleFault::kEarlier, -1, 0.0f};
  const LogitSums sums = args.sums[row.row];
  if (sums.fault_id >= 0) {
    return {-1, SampleFault::kLogits, sums.fault_id, sums.fault_value};
  }
  if (sums.argmax < 0) return {-1, SampleFault::kNothingAllowed, -1, 0.0f};
  if (!row.draws) return outcome;
  outcome.token = row.greedy ? sums.argmax
                             : Draw<kThreads>(row, RawLogits(args, row),
                                              {args.block_max[row.row], args.block_sums[row.row]},
                                              sums, /*cut=*/0);
  return outcome;
}

__global__ void __launch_bounds__(kPlainThreads) PlainKernel(SampleArgs args) {
  sm90::BeginOverlapped();
  const SampleOutcome outcome = SampleUnchanged<kPlainThreads>(args, args.rows[blockIdx.x]);
  if (threadIdx.x == 0) StoreOutcome(args, blockIdx.x, outcome);
}

using RowSelector = sm90::Selector<kSampleThreads>;

// The order of the last token that min-p, top-k and top-p keep.
__device__ sm90::TokenOrder FilterCut(const SampleRow& row, int vocab, const LogitSums& sums,
                                      RowSelector& selector) {
  // Sorting as many candidates as these blocks leave is quicker than another pass over the row.
  constexpr int kNucleusBlocks = 512;
  const float least = fmaxf(__fadd_rn(sums.max, row.log_min_p), -kLogitLimit);
  sm90::TokenOrder cut = sm90::OrderAtLeast(least);
  const bool has_top_k = row.top_k > 0 && row.top_k < vocab;
  if (has_top_k) {
    cut = selector.FindCut(sm90::CountMeasure{}, row.top_k, cut, selector.GuessOfTop(row.top_k));
  }
  if (row.top_p == kTopPOff) return cut;
  const sm90::WeightMeasure weight{-static_cast<float>(sums.exponent)};
  const uint64_t wanted = WantedWeight(selector.SumFrom(weight, cut), row.top_p);
  const int blocks = static_cast<int>(NumVocabBlocks(vocab));
  const sm90::TokenOrder guess = selector.GuessOfTop(min(kNucleusBlocks, (blocks + 1) / 2));
  return selector.FindCut(weight, wanted, cut, guess);
}

// The sums of the blocks after the filters, from their maxima before.
__device__ void SumKept(const sm90::ScaledLogits& logits, sm90::TokenOrder cut,
                        const sm90::RowBlocks& blocks) {
  for (int b = sm90::WarpIndex(); b < logits.blocks(); b += kSampleThreads / sm90::kWarp) {
    sm90::BlockSum sum;
    if (sm90::OrderKey(blocks.max[b]) >= static_cast<uint32_t>(cut >> sm90::kOrderIdBits)) {
      sm90::LaneValues values = sm90::ValuesOf(logits, b, sm90::LoadLogits(logits, b));
#pragma unroll
      for (int i = 0; i < sm90::kLaneIds; ++i) {
        const bool kept = sm90::OrderOf(values.y[i], sm90::FirstIdOfLane(b) + i) >= cut;
        if (!kept) values.y[i] = kDropped;
      }
      sum = sm90::SumBlock(values);
    }
    __syncwarp();  // every lane has read the maximum
    if (sm90::Lane() == 0) {
      blocks.max[b] = sum.max;
      blocks.sums[b] = sum.sum;
    }
  }
  __syncthreads();
}

// Replaces the row's logits and sums by those of the kept y.
__device__ void KeepProcessed(const SampleArgs& args, int64_t row, const sm90::ScaledLogits& logits,
                              sm90::TokenOrder cut, const sm90::RowBlocks& blocks,
                              const LogitSums& sums) {
  __syncthreads();  // the draw has read what this overwrites
  float* const to = args.logits[row];
  for (int b = sm90::WarpIndex(); b < logits.blocks(); b += kSampleThreads / sm90::kWarp) {
    const sm90::LaneValues values = sm90::ValuesOf(logits, b, sm90::LoadLogits(logits, b));
#pragma unroll
    for (int i = 0; i < sm90::kLaneIds; ++i) {
      const int id = sm90::FirstIdOfLane(b) + i;
      if (id >= logits.vocab) continue;
      to[id] = sm90::OrderOf(values.y[i], id) >= cut ? values.y[i] : kDropped;
    }
    if (sm90::Lane() == 0) {
      args.block_max[row][b] = blocks.max[b];
      args.block_sums[row][b] = blocks.sums[b];
    }
  }
  if (threadIdx.x == 0) args.sums[row] = sums;
}

struct SampleShared {
  sm90::SelectorShared selector;
  uint64_t block_sums[kMaxVocab / kVocabBlock];
  float block_max[kMaxVocab / kVocabBlock];
};

// Row n, whose y or kept tokens differ from its raw logits.
__device__ SampleOutcome SampleChanged(const SampleArgs& args, const SampleScratch& scratch,
                                       int64_t n, SampleShared* shared) {
  const SampleRow& row = args.rows[n];
  const sm90::ScaledLogits logits = ChangedLogits(args, scratch, n);
  sm90::RowBlocks blocks{scratch.block_max[n], scratch.block_sums[n]};
  LogitSums sums = sm90::SumRow<kSampleThreads>(logits, blocks);
  if (sums.fault_id >= 0) {
    const bool made = __float_as_uint(logits.z[sums.fault_id]) == kMadeMinusInfinity;
    const float value = made ? __fmul_rn(kDropped, logits.factor) : sums.fault_value;
    return {-1, SampleFault::kValue, sums.fault_id, value};
  }
  if (sums.argmax < 0) return {-1, SampleFault::kNothingAllowed, -1, 0.0f};
  sm90::TokenOrder cut = sm90::OrderAtLeast(-kLogitLimit);  // all that are not dropped
  if (IsFiltered(row, logits.vocab)) {
    for (int b = threadIdx.x; b < logits.blocks(); b += kSampleThreads) {
      shared->block_max[b] = blocks.max[b];
    }
    __syncthreads();
    blocks = {shared->block_max, shared->block_sums};
    RowSelector selector(logits, blocks.max, &shared->selector);
    cut = FilterCut(row, logits.vocab, sums, selector);
    __syncthreads();  // the selector has read the maxima
    SumKept(logits, cut, blocks);
    sums = sm90::SumRow<kSampleThreads>(logits, blocks);
  }
  SampleOutcome outcome;
  if (row.draws) {
    outcome.token = row.greedy ? sums.argmax : Draw<kSampleThreads>(row, logits, blocks, sums, cut);
  }
  if (row.keeps_processed) KeepProcessed(args, row.row, logits, cut, blocks, sums);
  return outcome;
}

__global__ void __launch_bounds__(kSampleThreads)
    SampleKernel(SampleArgs args, SampleScratch scratch) {
  sm90::BeginOverlapped();
  __shared__ SampleShared shared;
  const int64_t n = blockIdx.x;
  const SampleRow& row = args.rows[n];
  const bool is_raw =
      HasLogitFault(args, row) || HasFailedBefore(args, row) || !IsChanged(row, args.logits.cols);
  const SampleOutcome outcome = is_raw ? SampleUnchanged<kSampleThreads>(args, row)
                                       : SampleChanged(args, scratch, n, &shared);
  if (threadIdx.x == 0) StoreOutcome(args, n, outcome);
}

}  // namespace

Status SampleSm90(const SampleArgs& args, Stream& stream) {
  VX_CHECK(args.logits.cols >= 1 && args.logits.cols <= kMaxVocab);
  if (args.num_rows == 0) return {};
  const auto rows = static_cast<unsigned>(args.num_rows);
  if (args.all_plain) {
    sm90::LaunchOverlapped(PlainKernel, rows, kPlainThreads, 0, stream, args);
    return {};
  }
  const int64_t vocab = args.logits.cols;
  const int64_t num_edited = std::min(args.num_edited, args.num_rows);
  SampleScratch scratch;
  const auto bytes =
      reinterpret_cast<uintptr_t>(scratch.Place(nullptr, args.num_rows, num_edited, vocab));
  VX_ASSIGN_OR_RETURN(const sm90::Scratch memory, sm90::Scratch::Allocate(bytes, stream));
  scratch.Place(static_cast<char*>(memory.data()), args.num_rows, num_edited, vocab);
  constexpr int64_t kCopyBlocks = kEditThreads / sm90::kWarp;
  const int64_t copy_ctas = (NumVocabBlocks(vocab) + kCopyBlocks - 1) / kCopyBlocks;
  const auto edited = static_cast<unsigned>(num_edited);
  sm90::LaunchOverlapped(CopyKernel, dim3(edited, static_cast<unsigned>(copy_ctas)), kEditThreads,
                         0, stream, args, scratch);
  sm90::LaunchOverlapped(PenaliseKernel, edited, kPenaliseThreads, 0, stream, args, scratch);
  sm90::LaunchOverlapped(ScanKernel, dim3(rows, sm90::NumScanCtas(vocab)), sm90::kScanThreads, 0,
                         stream, args, scratch);
  sm90::LaunchOverlapped(SampleKernel, rows, kSampleThreads, 0, stream, args, scratch);
  return {};
}

}  // namespace vexact
