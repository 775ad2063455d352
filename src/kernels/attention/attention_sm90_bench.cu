// Stands alone on a GPU machine: `check` compares words with a plain device kernel and between
// schedules; `words` compares hundreds of millions of words between cuts of the same prompts into
// chunks and decode rows, on the device; `time` measures prefill and decode.
//
//   scripts/build cuda vexact_gpu_benches
//   build/cuda/attention_sm90_bench [check | words | time]
//
// budget: checks and measurements share the data that they run on.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "kernels/attention/attention_kernel_sm90.cuh"
#include "kernels/linear/linear_proof_sm90.h"
#include "numerics/dot16.h"
#include "numerics/ex2.h"
#include "numerics/tree128.h"
#include "numerics/words.h"

namespace vexact {
namespace {

using sm90::CheckCuda;
using sm90::Launch;

constexpr double kBytesPerSecond = 4.8e12;
constexpr double kFlopPerSecond = 790e12;

struct Shape {
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
};
struct Sequence {
  int64_t context;
  int64_t tokens;
};

Buffer DeviceBuffer(size_t bytes) {
  void* data = nullptr;
  CheckCuda(cudaMalloc(&data, std::max<size_t>(bytes, 256)));
  CheckCuda(cudaMemset(data, 0, std::max<size_t>(bytes, 256)));
  return Buffer(static_cast<std::byte*>(data), bytes, data, [](void* p) { cudaFree(p); });
}

Buffer Upload(const std::vector<int32_t>& values) {
  Buffer buffer = DeviceBuffer(values.size() * 4);
  CheckCuda(cudaMemcpy(buffer.data(), values.data(), values.size() * 4, cudaMemcpyHostToDevice));
  return buffer;
}

__device__ bf16 RandomValue(uint64_t i, uint32_t seed, float size) {
  uint32_t x = static_cast<uint32_t>(i) * 2654435761u ^ static_cast<uint32_t>(i >> 32) ^ seed;
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  x ^= x >> 16;
  const float sum = static_cast<float>(x & 0xffffu) + static_cast<float>(x >> 16);
  return Bf16FromFloat((sum / 65536.0f - 1.0f) * size);
}

__global__ void FillWords(bf16* to, int64_t count, bf16 word) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += step) {
    to[i] = word;
  }
}
__global__ void FillRandom(bf16* to, int64_t count, uint32_t seed, float size) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += step) {
    to[i] = RandomValue(i, seed, size);
  }
}
// One block a (sequence, position): a value depends on its place in the sequence, whatever the
// blocks' size.
__global__ void FillSequences(PagedKv kv, PagedSequences sequences, uint32_t seed, int32_t same) {
  const auto s = static_cast<int64_t>(blockIdx.y);
  const int64_t key = same != 0 ? 0 : s;
  for (int64_t p = blockIdx.x; p < sequences.context_len[s]; p += gridDim.x) {
    const int64_t block =
        sequences.block_tables[sequences.block_table_start[s] + p / kv.block_size];
    const int64_t columns = kv.num_kv_heads * kv.head_dim;
    for (int64_t e = threadIdx.x; e < columns; e += blockDim.x) {
      const int64_t head = e / kv.head_dim;
      const int64_t at = p % kv.block_size * kv.head_dim + e % kv.head_dim;
      const uint64_t index = ((key << 24) + p) * columns + e;
      kv.Keys(block, head)[at] = RandomValue(index, seed, 1.5f);
      kv.Values(block, head)[at] = RandomValue(index, seed + 1, 1.5f);
    }
  }
}

// numerics.md as it reads: one block of 128 threads for one query row and head.
__global__ void PlainAttention(AttentionArgs args, int32_t segment, float scale) {
  __shared__ float scores[kAttentionTile];
  __shared__ float tree[kAttentionTile];
  __shared__ bf16 rounded[kAttentionTile];
  __shared__ float largest;
  const int64_t row = blockIdx.x;
  const int64_t head = blockIdx.y;
  const PagedSequences& sequences = args.sequences;
  int64_t s = 0;
  while (sequences.query_start[s + 1] <= row) ++s;
  const int64_t visible = sequences.context_len[s] - (sequences.query_start[s + 1] - row) + 1;
  const int64_t head_dim = args.kv.head_dim;
  const int64_t kv_head = head / (args.num_heads / args.kv.num_kv_heads);
  const int32_t* blocks = sequences.block_tables + sequences.block_table_start[s];
  const auto offset = [&](int64_t p) { return p % args.kv.block_size * head_dim; };
  const int t = static_cast<int>(threadIdx.x);
  float fold_m = 0, fold_l = 0, fold_o = 0;  // o of column t
  for (int64_t start = 0; start < visible; start += segment) {
    float m = -INFINITY, l = 0, o = 0;
    for (int64_t tile = start; tile < min(visible, start + segment); tile += kAttentionTile) {
      const auto count = static_cast<int>(min(int64_t{kAttentionTile}, visible - tile));
      if (t < count) {
        const bf16* key = args.kv.Keys(blocks[(tile + t) / args.kv.block_size], kv_head);
        scores[t] = Chain(args.q[row] + head * head_dim, key + offset(tile + t), head_dim);
      }
      __syncthreads();
      if (t == 0) {
        largest = -INFINITY;
        for (int j = 0; j < count; ++j) {
          if (scores[j] > largest) largest = scores[j];
        }
      }
      __syncthreads();
      const float mn = fmaxf(m, ceilf(__fmul_rn(largest, scale)));
      const float rescale = tile == start ? 0.0f : Ex2(__fsub_rn(m, mn));
      tree[t] = t < count ? Ex2(__fmaf_rn(scores[t], scale, -mn)) : 0.0f;
      rounded[t] = Bf16FromFloat(tree[t]);
      __syncthreads();
      if (t == 0) Tree128(tree);
      bf16 column[kAttentionTile] = {};
      if (t < head_dim) {
        for (int j = 0; j < count; ++j) {
          const bf16* value = args.kv.Values(blocks[(tile + j) / args.kv.block_size], kv_head);
          column[j] = value[offset(tile + j) + t];
        }
        o = Chain(tile == start ? 0.0f : __fmul_rn(o, rescale), rounded, column, kAttentionTile);
      }
      __syncthreads();
      l = __fadd_rn(tile == start ? 0.0f : __fmul_rn(l, rescale), tree[0]);
      m = mn;
      __syncthreads();
    }
    if (start == 0) {
      fold_m = m, fold_l = l, fold_o = o;
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
class Problem {
 public:
  Problem(const Shape& shape, std::vector<Sequence> sequences, int64_t block_size, int64_t layers,
          bool same, cudaStream_t cuda)
      : shape_(shape), sequences_(std::move(sequences)), layers_(layers) {
    stream_.cuda = cuda;
    std::vector<int32_t> query_start = {0}, contexts, table_start, tables;
    for (const Sequence& s : sequences_) {
      query_start.push_back(query_start.back() + static_cast<int32_t>(s.tokens));
      contexts.push_back(static_cast<int32_t>(s.context));
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
             args.kv, args.sequences, static_cast<uint32_t>(17 * layer + 3), same ? 1 : 0);
    }
    Launch(FillRandom, 2048, 256, 0, stream_, q_.as<bf16>(), static_cast<int64_t>(Elements()), 5u,
           2.0f);
  }

  AttentionArgs Args(int64_t layer) const {
    const int64_t columns = shape_.heads * shape_.head_dim;
    AttentionArgs args{Rows<const bf16>(q_.as<bf16>(), rows_, columns),
                       Rows<bf16>(y_.as<bf16>(), rows_, columns),
                       shape_.heads,
                       kv_,
                       {static_cast<int64_t>(sequences_.size()), query_start_.as<int32_t>(),
                        contexts_.as<int32_t>(), table_start_.as<int32_t>(), tables_.as<int32_t>()},
                       &plan_};
    args.kv.pool += layer * layer_elements_;
    return args;
  }

  void Plan() { PlanAttentionSm90(Args(0).sequences, plan_, stream_); }
  template <int kHeadDim>
  void Run() {
    Launch(FillWords, 1024, 256, 0, stream_, y_.as<bf16>(), static_cast<int64_t>(Elements()),
           bf16{0x7fff});
    Plan();
    sm90::LaunchAttention<kHeadDim>(Args(0), stream_);
  }
  template <int kHeadDim>
  std::vector<uint16_t> Answer() {
    Run<kHeadDim>();
    return Words();
  }
  std::vector<uint16_t> PlainAnswer(int32_t segment) {
    Launch(PlainAttention, dim3(static_cast<unsigned>(rows_), static_cast<unsigned>(shape_.heads)),
           128, 0, stream_, Args(0), segment, AttentionScale(shape_.head_dim));
    return Words();
  }

  // Row `from` of q becomes all rows.
  void SetQueries(const bf16* row) {
    const size_t bytes = static_cast<size_t>(shape_.heads * shape_.head_dim) * 2;
    for (int64_t r = 0; r < rows_; ++r) {
      CheckCuda(cudaMemcpyAsync(q_.data() + r * bytes, row, bytes, cudaMemcpyDeviceToDevice,
                                stream_.cuda));
    }
  }
  const bf16* Query(int64_t row) const {
    return q_.as<bf16>() + row * shape_.heads * shape_.head_dim;
  }

  // The queries of a whole prompt, each sequence's at its positions.
  void SetQueriesOf(const Problem& prompt) {
    ForEachSequence([&](int64_t row, int64_t position, int64_t tokens) {
      CheckCuda(cudaMemcpyAsync(q_.as<bf16>() + row * Columns(), prompt.Query(position),
                                static_cast<size_t>(tokens * Columns()) * sizeof(bf16),
                                cudaMemcpyDeviceToDevice, stream_.cuda));
    });
  }
  // Words that are not the whole prompt's at the same positions, counted on the device.
  unsigned long long CountDifferingFrom(const Problem& prompt) {
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

  // Microseconds of one layer, the median of recorded runs over all layers.
  template <int kHeadDim>
  double Microseconds() {
    Plan();
    return Median([&](int64_t layer) { sm90::LaunchAttention<kHeadDim>(Args(layer), stream_); }) /
           static_cast<double>(layers_);
  }
  double PlanMicroseconds() {
    return Median([&](int64_t) { Plan(); }) / static_cast<double>(layers_);
  }

  int64_t Columns() const { return shape_.heads * shape_.head_dim; }
  size_t Elements() const { return static_cast<size_t>(rows_ * Columns()); }
  double KvBytes() const {
    double tokens = 0;
    for (const Sequence& s : sequences_) tokens += static_cast<double>(s.context);
    return tokens * static_cast<double>(shape_.kv_heads * shape_.head_dim * 4);
  }
  double Flop() const {
    double pairs = 0;
    for (const Sequence& s : sequences_) {
      const auto context = static_cast<double>(s.context);
      const auto tokens = static_cast<double>(s.tokens);
      pairs += tokens * (context - tokens) + tokens * (tokens + 1) / 2;
    }
    return pairs * static_cast<double>(shape_.heads * shape_.head_dim * 4);
  }

 private:
  // visit(first row, position of its query, rows)
  void ForEachSequence(const std::function<void(int64_t, int64_t, int64_t)>& visit) const {
    int64_t row = 0;
    for (const Sequence& s : sequences_) {
      visit(row, s.context - s.tokens, s.tokens);
      row += s.tokens;
    }
  }

  std::vector<uint16_t> Words() {
    std::vector<uint16_t> words(Elements());
    CheckCuda(cudaStreamSynchronize(stream_.cuda));
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

  Shape shape_;
  std::vector<Sequence> sequences_;
  int64_t layers_;
  int64_t rows_ = 0;
  int64_t layer_elements_ = 0;
  Buffer pool_, q_, y_, query_start_, contexts_, table_start_, tables_;
  AttentionPlan plan_;
  PagedKv kv_;
  Stream stream_;
};

int64_t CountDiffering(const std::vector<uint16_t>& a, const std::vector<uint16_t>& b) {
  int64_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

// Lengths at the edges of chunks, tiles and segments; decode rows, short and long chunks, and
// sequences without rows, in one call.
template <int kHeadDim>
int64_t CheckAgainstPlain(int64_t group, int64_t block_size, cudaStream_t cuda) {
  const int64_t kv_heads = 2;
  std::vector<Sequence> sequences;
  int i = 0;
  for (const int64_t context :
       {1,   2,   15,  16,  17,  31,  33,  63,  65,  127, 128, 129,  144,
        255, 256, 257, 383, 384, 385, 511, 512, 513, 640, 769, 1024, 1100}) {
    sequences.push_back({context, 1});
    const int64_t several[] = {2, 5, 16, 40, 0, 129};
    sequences.push_back({context, std::min(context, several[i++ % 6])});
  }
  Problem problem({kv_heads * group, kv_heads, kHeadDim}, sequences, block_size, 1, false, cuda);
  const auto fast = problem.template Answer<kHeadDim>();
  const auto again = problem.template Answer<kHeadDim>();  // counters were set back
  const auto plain = problem.PlainAnswer(kAttentionSegment);
  const int64_t differing = CountDiffering(fast, plain) + CountDiffering(fast, again);
  std::printf("plain: head_dim %3d group %2d blocks of %d: %zu words, %lld differ (%lld again)\n",
              kHeadDim, static_cast<int>(group), static_cast<int>(block_size), fast.size(),
              static_cast<long long>(CountDiffering(fast, plain)),
              static_cast<long long>(CountDiffering(fast, again)));
  return differing;
}

// The last rows of a prefill, again as decode rows: alone (cut into segments), and many at once
// (whole sequences a warp).
int64_t CheckSchedules(const Shape& shape, int64_t context, cudaStream_t cuda) {
  Problem prefill(shape, {{context, context}}, 16, 1, true, cuda);
  const auto wanted = prefill.Answer<128>();
  const auto columns = static_cast<size_t>(shape.heads * shape.head_dim);
  int64_t differing = 0;
  int64_t words = 0;
  for (const int64_t copies : {1, 3, 2000}) {
    if (copies * context > 1100000) continue;
    Problem decode(shape, std::vector<Sequence>(copies, {context, 1}), 64, 1, true, cuda);
    decode.SetQueries(prefill.Query(context - 1));
    const auto y = decode.Answer<128>();
    const uint16_t* last = wanted.data() + wanted.size() - columns;
    for (size_t i = 0; i < y.size(); ++i) differing += y[i] != last[i % columns];
    words += static_cast<int64_t>(y.size());
  }
  std::printf("schedules: heads %d/%d context %lld: %lld words, %lld differ\n",
              static_cast<int>(shape.heads), static_cast<int>(shape.kv_heads),
              static_cast<long long>(context), static_cast<long long>(words),
              static_cast<long long>(differing));
  return differing;
}

struct WordCount {
  int64_t words = 0;
  int64_t differing = 0;
};

// A prompt in one prefill, and all of its rows again as chunks of every size, all chunks of a size
// beside each other in one call. Chunks of one row are decode rows.
template <int kHeadDim>
WordCount CompareCuts(const Shape& shape, int64_t context, cudaStream_t cuda) {
  Problem prompt(shape, {{context, context}}, 16, 1, true, cuda);
  prompt.Run<kHeadDim>();
  WordCount count;
  for (const int64_t chunk : {1, 2, 3, 16, 17, 64, 100, 128, 129, 256, 500, 1000}) {
    std::vector<Sequence> sequences;
    for (int64_t first = 0; first < context; first += chunk) {
      const int64_t tokens = std::min(chunk, context - first);
      sequences.push_back({first + tokens, tokens});
    }
    Problem cut(shape, sequences, 64, 1, true, cuda);
    cut.SetQueriesOf(prompt);
    cut.Run<kHeadDim>();
    count.words += static_cast<int64_t>(cut.Elements());
    count.differing += static_cast<int64_t>(cut.CountDifferingFrom(prompt));
  }
  std::printf("cuts: heads %lld/%lld of %d, prompt of %lld: %lld words, %lld differ\n",
              static_cast<long long>(shape.heads), static_cast<long long>(shape.kv_heads), kHeadDim,
              static_cast<long long>(context), static_cast<long long>(count.words),
              static_cast<long long>(count.differing));
  std::fflush(stdout);
  return count;
}

int64_t CompareAllCuts(cudaStream_t cuda) {
  WordCount all;
  for (const int64_t context : {300, 2048, 3000}) {
    for (const WordCount& count : {CompareCuts<128>({16, 8, 128}, context, cuda),
                                   CompareCuts<128>({32, 4, 128}, context, cuda),
                                   CompareCuts<64>({9, 3, 64}, context, cuda)}) {
      all.words += count.words;
      all.differing += count.differing;
    }
  }
  std::printf("words: %lld words compared, %lld differ\n", static_cast<long long>(all.words),
              static_cast<long long>(all.differing));
  return all.differing;
}

int64_t CheckAll(cudaStream_t cuda) {
  int64_t differing = 0;
  for (const int64_t group : {1, 2, 3, 4, 8, 16}) {
    for (const int64_t block_size : {16, 32, 64}) {
      differing += CheckAgainstPlain<64>(group, block_size, cuda);
      differing += CheckAgainstPlain<128>(group, block_size, cuda);
    }
  }
  for (const int64_t block_size : {16, 64}) {
    differing += CheckAgainstPlain<16>(3, block_size, cuda);
    differing += CheckAgainstPlain<32>(7, block_size, cuda);
  }
  for (const int64_t context : {500, 1000, 3000, 8192}) {
    differing += CheckSchedules({16, 8, 128}, context, cuda);
    differing += CheckSchedules({32, 4, 128}, context, cuda);
  }
  std::printf("check: %lld differing words in all\n", static_cast<long long>(differing));
  return differing;
}

void Report(const std::string& name, const Problem& problem, double us) {
  const double bytes_floor = problem.KvBytes() / kBytesPerSecond * 1e6;
  const double flop_floor = problem.Flop() / kFlopPerSecond * 1e6;
  const double floor = std::max(bytes_floor, flop_floor);
  std::printf("%-52s floor %9.2f us | %9.2f us %3.0f %% | %.0f GB/s %.0f TFLOP/s\n", name.c_str(),
              floor, us, 100 * floor / us, problem.KvBytes() / us * 1e-3,
              problem.Flop() / us * 1e-6);
  std::fflush(stdout);
}

void TimeProblem(const std::string& name, const Shape& shape, std::vector<Sequence> sequences,
                 int64_t layers, cudaStream_t cuda) {
  Problem problem(shape, std::move(sequences), 16, layers, false, cuda);
  const double us =
      shape.head_dim == 128 ? problem.Microseconds<128>() : problem.Microseconds<64>();
  Report(name + ", heads " + std::to_string(shape.heads) + "/" + std::to_string(shape.kv_heads) +
             " of " + std::to_string(shape.head_dim),
         problem, us);
}

void TimeAll(cudaStream_t cuda) {
  const Shape shapes[] = {{16, 8, 128}, {32, 4, 128}, {9, 3, 64}};
  for (const Shape& shape : shapes) {
    for (const int64_t tokens : {512, 2048, 8192, 32768}) {
      TimeProblem("prefill of " + std::to_string(tokens), shape, {{tokens, tokens}},
                  tokens > 8192 ? 1 : 4, cuda);
    }
    TimeProblem("prefill of 2048 after 6144", shape, {{8192, 2048}}, 4, cuda);
    for (const int64_t count : {1, 8, 32, 64, 200, 512}) {
      std::vector<Sequence> sequences;
      std::mt19937 random(3);
      for (int64_t s = 0; s < count; ++s)
        sequences.push_back({500 + static_cast<int64_t>(random() % 501), 1});
      // Together beyond the L2 cache.
      TimeProblem("decode of " + std::to_string(count) + " x 500..1000", shape, sequences,
                  count >= 64 ? 4 : 64 * 4 / count, cuda);
    }
    TimeProblem("decode of 8 x 500", shape, std::vector<Sequence>(8, {500, 1}), 32, cuda);
    std::vector<Sequence> uniform;
    std::mt19937 random(4);
    for (int s = 0; s < 64; ++s) uniform.push_back({1 + static_cast<int64_t>(random() % 1000), 1});
    TimeProblem("decode of 64 x 1..1000", shape, uniform, 6, cuda);
    TimeProblem("decode of 1 x 3000", shape, {{3000, 1}}, 32, cuda);
    TimeProblem("decode of 1 x 32768", shape, {{32768, 1}}, 4, cuda);
    std::vector<Sequence> mixed = uniform;
    mixed.push_back({1024, 1024});
    TimeProblem("64 x 1..1000 and a prefill of 1024", shape, mixed, 6, cuda);
  }
  Problem plan({16, 8, 128}, std::vector<Sequence>(512, {600, 1}), 16, 1, false, cuda);
  std::printf("plan of 512 sequences: %.2f us\n", plan.PlanMicroseconds());
}

}  // namespace
}  // namespace vexact

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "all";
  cudaStream_t stream = nullptr;
  vexact::sm90::CheckCuda(cudaStreamCreate(&stream));
  int64_t differing = 0;
  if (what == "check" || what == "all") differing += vexact::CheckAll(stream);
  if (what == "words" || what == "all") differing += vexact::CompareAllCuts(stream);
  if (what == "time" || what == "all") vexact::TimeAll(stream);
  return differing == 0 ? 0 : 1;
}
