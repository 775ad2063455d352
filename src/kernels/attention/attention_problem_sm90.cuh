// What attention's GPU benchmark runs on: sequences in a paged pool, and numerics.md as a plain
// kernel.
//
// budget: the data and its plain answer, for checks and measurements alike.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_PROBLEM_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_PROBLEM_SM90_CUH_

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/attention/attention.h"
#include "kernels/linear/linear_proof_sm90.h"
#include "kernels/sm90/arithmetic.cuh"
#include "kernels/sm90/dependent_launch.cuh"
#include "numerics/constants.h"
#include "numerics/dot16.h"
#include "numerics/ex2.h"
#include "numerics/tree128.h"
#include "numerics/words.h"

namespace vexact {

using sm90::CheckCuda;
using sm90::Launch;

// The same for every sequence of a problem: a prefix as long as the mask allows, up to `length`;
// documents of `length` tokens.
struct ProblemMask {
  MaskKind kind = MaskKind::kCausal;
  int32_t length = 0;  // or the window
};
struct AttentionShape {
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  ProblemMask mask = {};
};
struct AttentionSequence {
  int64_t context;
  int64_t tokens;
};

// The kernels to run, and where.
struct AttentionTarget {
  void (*run)(const AttentionArgs& args, Stream& stream);
  int32_t runs_per_sm;  // of their plans
  bool has_masks;       // others than the causal one
  cudaStream_t cuda;
};

inline Buffer DeviceBuffer(size_t bytes) {
  void* data = nullptr;
  CheckCuda(cudaMalloc(&data, std::max<size_t>(bytes, 256)));
  CheckCuda(cudaMemset(data, 0, std::max<size_t>(bytes, 256)));
  return Buffer(static_cast<std::byte*>(data), bytes, data, [](void* p) { cudaFree(p); });
}

inline Buffer Upload(const std::vector<int32_t>& values) {
  Buffer buffer = DeviceBuffer(values.size() * 4);
  CheckCuda(cudaMemcpy(buffer.data(), values.data(), values.size() * 4, cudaMemcpyHostToDevice));
  return buffer;
}

__device__ inline bf16 RandomValue(uint64_t i, uint32_t seed, float size) {
  uint32_t x = static_cast<uint32_t>(i) * 2654435761u ^ static_cast<uint32_t>(i >> 32) ^ seed;
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  x ^= x >> 16;
  const float sum = static_cast<float>(x & 0xffffu) + static_cast<float>(x >> 16);
  return Bf16FromFloat((sum / 65536.0f - 1.0f) * size);
}

static __global__ void FillWords(bf16* to, int64_t count, bf16 word) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += step) {
    to[i] = word;
  }
}
static __global__ void FillRandom(bf16* to, int64_t count, uint32_t seed, float size) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += step) {
    to[i] = RandomValue(i, seed, size);
  }
}
// K and V of position p; a value depends on its place in the sequence, whatever the blocks' size.
__device__ inline void FillPosition(const PagedKv& kv, const PagedSequences& sequences, int64_t s,
                                    int64_t p, uint32_t seed, int64_t key) {
  const int64_t block = sequences.block_tables[sequences.block_table_start[s] + p / kv.block_size];
  const int64_t columns = kv.num_kv_heads * kv.head_dim;
  for (int64_t e = threadIdx.x; e < columns; e += blockDim.x) {
    const int64_t head = e / kv.head_dim;
    const int64_t at = p % kv.block_size * kv.head_dim + e % kv.head_dim;
    const uint64_t index = ((key << 24) + p) * columns + e;
    kv.Keys(block, head)[at] = RandomValue(index, seed, 1.5f);
    kv.Values(block, head)[at] = RandomValue(index, seed + 1, 1.5f);
  }
}
// One block a (position, sequence).
static __global__ void FillSequences(PagedKv kv, PagedSequences sequences, uint32_t seed,
                                     int32_t same) {
  const auto s = static_cast<int64_t>(blockIdx.y);
  for (int64_t p = blockIdx.x; p < sequences.context_len[s]; p += gridDim.x) {
    FillPosition(kv, sequences, s, p, seed, same != 0 ? 0 : s);
  }
}

// A step's own positions as no step has left them, and then as FillSequences does, late: what
// attention has to wait for. One block a sequence.
static __global__ void ForgetNewest(PagedKv kv, PagedSequences sequences) {
  const auto s = static_cast<int64_t>(blockIdx.x);
  const int64_t tokens = sequences.query_start[s + 1] - sequences.query_start[s];
  for (int64_t p = sequences.context_len[s] - tokens; p < sequences.context_len[s]; ++p) {
    const int64_t block =
        sequences.block_tables[sequences.block_table_start[s] + p / kv.block_size];
    for (int64_t head = 0; head < 2 * kv.num_kv_heads; ++head) {
      bf16* to = kv.Keys(block, head) + p % kv.block_size * kv.head_dim;
      for (int64_t e = threadIdx.x; e < kv.head_dim; e += blockDim.x) to[e] = bf16{0x4200};  // 32
    }
  }
}
static __global__ void FillNewestLate(PagedKv kv, PagedSequences sequences, uint32_t seed) {
  sm90::AllowLater();
  sm90::WaitForEarlier();
  const int64_t begin = clock64();
  while (clock64() - begin < 100000) {  // about 55 us
  }
  const auto s = static_cast<int64_t>(blockIdx.x);
  const int64_t tokens = sequences.query_start[s + 1] - sequences.query_start[s];
  for (int64_t p = sequences.context_len[s] - tokens; p < sequences.context_len[s]; ++p) {
    FillPosition(kv, sequences, s, p, seed, s);
  }
}
// A kernel between the one that writes and attention.
static __global__ void PassOn() {
  sm90::AllowLater();
  sm90::WaitForEarlier();
}

// What a row sees, as one run of positions whatever the mask.
__device__ inline VisibleRun<false> PlainVisible(const AttentionMask& mask, int32_t position,
                                                 int64_t row) {
  switch (mask.kind) {
    case MaskKind::kCausal:
      return {0, position + 1};
    case MaskKind::kSlidingWindow:
      return {max(0, position + 1 - mask.window), position + 1};
    case MaskKind::kPrefixLm:
      return {0, position + 1 + mask.reach[row]};
    case MaskKind::kDocument:
      return {position - mask.reach[row], position + 1};
  }
  return {0, 0};
}

// numerics.md as it reads: one block of 128 threads for one query row and head.
static __global__ void PlainAttention(AttentionArgs args, float scale) {
  __shared__ float scores[kAttentionTile];
  __shared__ float tree[kAttentionTile];
  __shared__ bf16 rounded[kAttentionTile];
  __shared__ float largest;
  const int64_t row = blockIdx.x;
  const int64_t head = blockIdx.y;
  const PagedSequences& sequences = args.sequences;
  int64_t s = 0;
  while (sequences.query_start[s + 1] <= row) ++s;
  const auto position =
      static_cast<int32_t>(sequences.context_len[s] - (sequences.query_start[s + 1] - row));
  const VisibleRun<false> visible = PlainVisible(sequences.mask, position, row);
  const int64_t head_dim = args.kv.head_dim;
  const int64_t kv_head = head / (args.num_heads / args.kv.num_kv_heads);
  const int32_t* blocks = sequences.block_tables + sequences.block_table_start[s];
  const auto offset = [&](int64_t p) { return p % args.kv.block_size * head_dim; };
  const int t = static_cast<int>(threadIdx.x);
  float fold_m = 0, fold_l = 0, fold_o = 0;  // o of column t
  bool fold_is_empty = true;
  for (int32_t start = 0; start < visible.end; start += kAttentionSegment) {
    float m = -INFINITY, l = 0, o = 0;
    bool is_empty = true;
    for (int32_t tile = start; tile < start + kAttentionSegment; tile += kAttentionTile) {
      if (!visible.SeesAny(tile, tile + kAttentionTile)) continue;
      const VisibleRun<false> here = visible.From(tile);
      const int first = max(0, here.begin);
      const int count = min(kAttentionTile, here.end);
      if (here.Sees(t)) {
        const bf16* key = args.kv.Keys(blocks[(tile + t) / args.kv.block_size], kv_head);
        scores[t] = Chain(args.q[row] + head * head_dim, key + offset(tile + t), head_dim);
      }
      __syncthreads();
      if (t == 0) {
        largest = -INFINITY;
        for (int j = first; j < count; ++j) {
          if (scores[j] > largest) largest = scores[j];
        }
      }
      __syncthreads();
      const float mn = fmaxf(m, ceilf(__fmul_rn(largest, scale)));
      const float rescale = is_empty ? 0.0f : Ex2(__fsub_rn(m, mn));
      tree[t] = here.Sees(t) ? Ex2(__fmaf_rn(scores[t], scale, -mn)) : 0.0f;
      rounded[t] = Bf16FromFloat(tree[t]);
      __syncthreads();
      if (t == 0) Tree128(tree);
      bf16 column[kAttentionTile] = {};
      if (t < head_dim) {
        for (int j = first; j < count; ++j) {
          const bf16* value = args.kv.Values(blocks[(tile + j) / args.kv.block_size], kv_head);
          column[j] = value[offset(tile + j) + t];
        }
        o = Chain(is_empty ? 0.0f : __fmul_rn(o, rescale), rounded, column, kAttentionTile);
      }
      __syncthreads();
      l = __fadd_rn(is_empty ? 0.0f : __fmul_rn(l, rescale), tree[0]);
      m = mn;
      is_empty = false;
      __syncthreads();
    }
    if (is_empty) continue;
    if (fold_is_empty) {
      fold_m = m, fold_l = l, fold_o = o;
      fold_is_empty = false;
      continue;
    }
    const float mn = fmaxf(fold_m, m);
    const float a = Ex2(__fsub_rn(fold_m, mn));
    const float b = Ex2(__fsub_rn(m, mn));
    fold_l = __fmaf_rn(l, b, __fmul_rn(fold_l, a));
    fold_o = __fmaf_rn(o, b, __fmul_rn(fold_o, a));
    fold_m = mn;
  }
  if (t < head_dim) {
    args.y[row][head * head_dim + t] = Bf16FromFloat(__fmul_rn(fold_o, __frcp_rn(fold_l)));
  }
}

// Sequences in shuffled blocks of a pool, one pool a layer.
class AttentionProblem {
 public:
  AttentionProblem(const AttentionShape& shape, std::vector<AttentionSequence> sequences,
                   int64_t block_size, int64_t layers, bool same, const AttentionTarget& target)
      : shape_(shape), sequences_(std::move(sequences)), layers_(layers), run_(target.run) {
    stream_.cuda = target.cuda;
    plan_.runs_per_sm = target.runs_per_sm;
    std::vector<int32_t> query_start = {0}, contexts, table_start, tables, reach;
    for (const AttentionSequence& s : sequences_) {
      query_start.push_back(query_start.back() + static_cast<int32_t>(s.tokens));
      contexts.push_back(static_cast<int32_t>(s.context));
      max_rows_ = std::max(max_rows_, s.tokens);
      for (int64_t p = s.context - s.tokens; p < s.context; ++p) reach.push_back(ReachOf(s, p));
      table_start.push_back(static_cast<int32_t>(tables.size()));
      for (int64_t p = 0; p < s.context; p += block_size) {
        tables.push_back(static_cast<int32_t>(tables.size()));
      }
    }
    const auto blocks = static_cast<int64_t>(tables.size());
    std::mt19937 random(7);
    std::shuffle(tables.begin(), tables.end(), random);
    rows_ = query_start.back();
    layer_elements_ = blocks * 2 * shape.kv_heads * block_size * shape.head_dim;
    pool_ = DeviceBuffer(static_cast<size_t>(layers * layer_elements_) * 2);
    q_ = DeviceBuffer(Elements() * 2);
    y_ = DeviceBuffer(Elements() * 2);
    query_start_ = Upload(query_start);
    contexts_ = Upload(contexts);
    table_start_ = Upload(table_start);
    tables_ = Upload(tables);
    reach_ = Upload(reach);
    plan_.limits = {rows_, static_cast<int64_t>(sequences_.size()), shape.heads, shape.kv_heads,
                    shape.head_dim};
    plan_.storage = DeviceBuffer(AttentionPlanBytesSm90(plan_.limits));
    kv_ = {pool_.as<bf16>(), blocks,         block_size,
           shape.kv_heads,   shape.head_dim, 2 * shape.kv_heads * block_size * shape.head_dim};
    Launch(FillWords, 2048, 256, 0, stream_, pool_.as<bf16>(), layers * layer_elements_,
           bf16{0x7fff});
    for (int64_t layer = 0; layer < layers; ++layer) {
      const AttentionArgs args = Args(layer);
      Launch(FillSequences, dim3(256, static_cast<unsigned>(sequences_.size())), 128, 0, stream_,
             args.kv, args.sequences, SeedOf(layer), same ? 1 : 0);
    }
    Launch(FillRandom, 2048, 256, 0, stream_, q_.as<bf16>(), static_cast<int64_t>(Elements()), 5u,
           2.0f);
  }

  AttentionArgs Args(int64_t layer) const {
    AttentionArgs args{Rows<const bf16>(q_.as<bf16>(), rows_, Columns()),
                       Rows<bf16>(y_.as<bf16>(), rows_, Columns()),
                       shape_.heads,
                       kv_,
                       {static_cast<int64_t>(sequences_.size()),
                        query_start_.as<int32_t>(),
                        contexts_.as<int32_t>(),
                        table_start_.as<int32_t>(),
                        tables_.as<int32_t>(),
                        max_rows_,
                        {shape_.mask.kind, shape_.mask.length, reach_.as<int32_t>()}},
                       &plan_};
    args.kv.pool += layer * layer_elements_;
    return args;
  }

  // Decode work then runs in the kernel that has prefill's code too.
  void ExpectLongChunks() { max_rows_ = PagedSequences().max_rows; }
  void Plan() { PlanAttentionSm90(Args(0).sequences, plan_, stream_); }
  void Run() {
    ForgetAnswer();
    Plan();
    run_(Args(0), stream_);
  }
  std::vector<uint16_t> Answer() {
    Run();
    return Words();
  }
  // With the step's own K and V written just ahead of attention, by a kernel that takes its time.
  std::vector<uint16_t> LateAnswer() {
    const AttentionArgs args = Args(0);
    const auto count = static_cast<unsigned>(sequences_.size());
    ForgetAnswer();
    Launch(ForgetNewest, count, 128, 0, stream_, args.kv, args.sequences);
    Plan();
    sm90::LaunchDependent(FillNewestLate, count, 128, 0, stream_, args.kv, args.sequences,
                          SeedOf(0));
    sm90::LaunchDependent(PassOn, 1, 32, 0, stream_);
    run_(args, stream_);
    return Words();
  }
  std::vector<uint16_t> PlainAnswer() {
    Launch(PlainAttention, dim3(static_cast<unsigned>(rows_), static_cast<unsigned>(shape_.heads)),
           128, 0, stream_, Args(0), AttentionScale(shape_.head_dim));
    return Words();
  }

  // `row` becomes all rows of q.
  void SetQueries(const bf16* row) {
    const size_t bytes = static_cast<size_t>(Columns()) * 2;
    for (int64_t r = 0; r < rows_; ++r) {
      CheckCuda(cudaMemcpyAsync(q_.data() + r * bytes, row, bytes, cudaMemcpyDeviceToDevice,
                                stream_.cuda));
    }
  }
  const bf16* Query(int64_t row) const { return q_.as<bf16>() + row * Columns(); }

  // The queries of a whole prompt, each sequence's at its positions.
  void SetQueriesOf(const AttentionProblem& prompt) {
    ForEachSequence([&](int64_t row, int64_t position, int64_t tokens) {
      CheckCuda(cudaMemcpyAsync(q_.as<bf16>() + row * Columns(), prompt.Query(position),
                                static_cast<size_t>(tokens * Columns()) * sizeof(bf16),
                                cudaMemcpyDeviceToDevice, stream_.cuda));
    });
  }
  // Words that are not the whole prompt's at the same positions, counted on the device.
  unsigned long long CountDifferingFrom(const AttentionProblem& prompt) {
    const Buffer differing = DeviceBuffer(sizeof(unsigned long long));
    ForEachSequence([&](int64_t row, int64_t position, int64_t tokens) {
      const auto rows = [&](const Buffer& y, int64_t first) {
        return Rows<const bf16>(y.as<bf16>() + first * Columns(), tokens, Columns());
      };
      CountDifferences(rows(y_, row), rows(prompt.y_, position), differing.as<unsigned long long>(),
                       stream_);
    });
    unsigned long long count = 0;
    CheckCuda(cudaStreamSynchronize(stream_.cuda));
    CheckCuda(cudaMemcpy(&count, differing.data(), sizeof(count), cudaMemcpyDeviceToHost));
    return count;
  }

  // Of one layer, the median of recorded runs over all layers.
  double Microseconds() {
    Plan();
    return Median([&](int64_t layer) { run_(Args(layer), stream_); }) /
           static_cast<double>(layers_);
  }
  double PlanMicroseconds() {
    return Median([&](int64_t) { Plan(); }) / static_cast<double>(layers_);
  }

  int64_t Columns() const { return shape_.heads * shape_.head_dim; }
  size_t Elements() const { return static_cast<size_t>(rows_ * Columns()); }
  // Of positions that any row sees.
  double KvBytes() const {
    double tokens = 0;
    for (const AttentionSequence& s : sequences_) {
      tokens += static_cast<double>(s.context - BeginOf(s, s.context - s.tokens));
    }
    return tokens * static_cast<double>(shape_.kv_heads * shape_.head_dim * 4);
  }
  double Flop() const {
    double pairs = 0;
    for (const AttentionSequence& s : sequences_) {
      for (int64_t p = s.context - s.tokens; p < s.context; ++p) {
        const int64_t later = shape_.mask.kind == MaskKind::kPrefixLm ? ReachOf(s, p) : 0;
        pairs += static_cast<double>(p + 1 + later - BeginOf(s, p));
      }
    }
    return pairs * static_cast<double>(shape_.heads * shape_.head_dim * 4);
  }

 private:
  // visit(first row, position of its query, rows)
  void ForEachSequence(const std::function<void(int64_t, int64_t, int64_t)>& visit) const {
    int64_t row = 0;
    for (const AttentionSequence& s : sequences_) {
      visit(row, s.context - s.tokens, s.tokens);
      row += s.tokens;
    }
  }

  // AttentionMask::reach of a sequence's row at position p.
  int32_t ReachOf(const AttentionSequence& s, int64_t p) const {
    const int64_t length = shape_.mask.length;
    if (shape_.mask.kind == MaskKind::kDocument) return static_cast<int32_t>(p % length);
    if (shape_.mask.kind != MaskKind::kPrefixLm) return 0;
    // A prefix lies before the rows, or they begin with it.
    const int64_t prefix =
        std::min(length, s.tokens == s.context ? s.context : s.context - s.tokens);
    return static_cast<int32_t>(std::max<int64_t>(0, prefix - 1 - p));
  }
  // The first position that the row at p sees.
  int64_t BeginOf(const AttentionSequence& s, int64_t p) const {
    if (shape_.mask.kind == MaskKind::kDocument) return p - ReachOf(s, p);
    if (shape_.mask.kind == MaskKind::kSlidingWindow) {
      return std::max<int64_t>(0, p + 1 - shape_.mask.length);
    }
    return 0;
  }

  static uint32_t SeedOf(int64_t layer) { return static_cast<uint32_t>(17 * layer + 3); }
  void ForgetAnswer() {
    Launch(FillWords, 1024, 256, 0, stream_, y_.as<bf16>(), static_cast<int64_t>(Elements()),
           bf16{0x7fff});
  }
  std::vector<uint16_t> Words() {
    std::vector<uint16_t> words(Elements());
    const cudaError_t failure = cudaStreamSynchronize(stream_.cuda);
    VX_CHECK(failure == cudaSuccess, cudaGetErrorString(failure));
    CheckCuda(cudaMemcpy(words.data(), y_.data(), words.size() * 2, cudaMemcpyDeviceToHost));
    for (uint16_t& w : words) w = CanonicalWord(bf16{w});
    return words;
  }

  double Median(const std::function<void(int64_t)>& run) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    CheckCuda(cudaStreamSynchronize(stream_.cuda));
    CheckCuda(cudaStreamBeginCapture(stream_.cuda, cudaStreamCaptureModeThreadLocal));
    for (int64_t layer = 0; layer < layers_; ++layer) run(layer);
    CheckCuda(cudaStreamEndCapture(stream_.cuda, &graph));
    CheckCuda(cudaGraphInstantiate(&exec, graph, 0));
    cudaEvent_t begin = nullptr;
    cudaEvent_t end = nullptr;
    CheckCuda(cudaEventCreate(&begin));
    CheckCuda(cudaEventCreate(&end));
    std::vector<float> times;
    for (int i = 0; i < 12; ++i) {
      CheckCuda(cudaEventRecord(begin, stream_.cuda));
      CheckCuda(cudaGraphLaunch(exec, stream_.cuda));
      CheckCuda(cudaEventRecord(end, stream_.cuda));
      CheckCuda(cudaEventSynchronize(end));
      float milliseconds = 0;
      CheckCuda(cudaEventElapsedTime(&milliseconds, begin, end));
      if (i > 1) times.push_back(milliseconds);
    }
    std::sort(times.begin(), times.end());
    CheckCuda(cudaEventDestroy(begin));
    CheckCuda(cudaEventDestroy(end));
    CheckCuda(cudaGraphExecDestroy(exec));
    CheckCuda(cudaGraphDestroy(graph));
    return 1e3 * times[times.size() / 2];
  }

  AttentionShape shape_;
  std::vector<AttentionSequence> sequences_;
  int64_t layers_;
  void (*run_)(const AttentionArgs& args, Stream& stream);
  int64_t rows_ = 0;
  int64_t max_rows_ = 0;  // of a sequence
  int64_t layer_elements_ = 0;
  Buffer pool_, q_, y_, query_start_, contexts_, table_start_, tables_, reach_;
  AttentionPlan plan_;
  PagedKv kv_;
  Stream stream_;
};

}  // namespace vexact

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_PROBLEM_SM90_CUH_
