// Times of the small operators of the Hopper backend: all but linear and attention, on the shapes
// of Qwen3-1.7B. A program of its own, so that it can be carried to a machine that has a GPU and
// nothing else of ours.
//
//   scripts/build cuda vexact_gpu_benches
//   build/cuda/small_operators_sm90_bench
//
// Columns: microseconds a call in a graph of 32 calls over 4 copies of the data, and the floor: the
// bytes that must move at 4.8 TB/s. Up to 64 rows most data stays in the L2 cache, as in a step.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <random>
#include <vector>

#include "kernels/embedding/embedding.h"
#include "kernels/moe/moe.h"
#include "kernels/norm_rope_write/norm_rope_write.h"
#include "kernels/residual_norm/residual_norm.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/sampling/sampling.h"
#include "kernels/silu_mul/silu_mul.h"
#include "kernels/sm90/launch.cuh"

namespace vexact {
namespace {

using sm90::CheckCuda;

constexpr int kCopies = 4;
constexpr int kCalls = 32;
constexpr int64_t kHidden = 2048;
constexpr int64_t kIntermediate = 6144;
constexpr int64_t kHeadDim = 128;
constexpr int64_t kHeads = 16;
constexpr int64_t kKvHeads = 8;
constexpr int64_t kVocab = 151936;
constexpr int64_t kBlocks = (kVocab + kVocabBlock - 1) / kVocabBlock;

template <typename T>
T* OnDevice(const std::vector<T>& host) {
  void* data = nullptr;
  CheckCuda(cudaMalloc(&data, host.size() * sizeof(T)));
  CheckCuda(cudaMemcpy(data, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
  return static_cast<T*>(data);
}
template <typename T>
T* Zeros(int64_t count) {
  return OnDevice(std::vector<T>(count));
}
// Values of about 1, rows of a word pattern that repeats.
bf16* RandomBf16(int64_t count) {
  std::mt19937 random(1);
  std::vector<bf16> values(count);
  for (bf16& value : values) value = bf16{static_cast<uint16_t>(0x3f00 + random() % 256)};
  return OnDevice(values);
}

class Timer {
 public:
  Timer() { CheckCuda(cudaStreamCreate(&stream_.cuda)); }

  // call(copy, stream), copy in [0, kCopies).
  void Report(const char* name, int64_t rows, double bytes,
              const std::function<void(int, Stream&)>& call) {
    call(0, stream_);
    cudaGraph_t graph = nullptr;
    CheckCuda(cudaStreamBeginCapture(stream_.cuda, cudaStreamCaptureModeThreadLocal));
    for (int n = 0; n < kCalls; ++n) call(n % kCopies, stream_);
    CheckCuda(cudaStreamEndCapture(stream_.cuda, &graph));
    cudaGraphExec_t replay = nullptr;
    CheckCuda(cudaGraphInstantiate(&replay, graph, 0));
    cudaEvent_t begin = nullptr;
    cudaEvent_t end = nullptr;
    CheckCuda(cudaEventCreate(&begin));
    CheckCuda(cudaEventCreate(&end));
    float best = 1e9f;
    for (int i = 0; i < 5; ++i) {
      CheckCuda(cudaEventRecord(begin, stream_.cuda));
      CheckCuda(cudaGraphLaunch(replay, stream_.cuda));
      CheckCuda(cudaEventRecord(end, stream_.cuda));
      CheckCuda(cudaEventSynchronize(end));
      float milliseconds = 0;
      CheckCuda(cudaEventElapsedTime(&milliseconds, begin, end));
      best = milliseconds < best ? milliseconds : best;
    }
    std::printf("%-28s %5ld rows %9.2f us   floor %8.2f us\n", name, static_cast<long>(rows),
                best * 1e3 / kCalls, bytes / 4.8e6);
    std::fflush(stdout);
  }

 private:
  Stream stream_;
};

void BenchLayers(Timer& timer, int64_t rows) {
  const int64_t wide = 2 * kIntermediate;
  bf16* const a = RandomBf16(kCopies * rows * wide);
  bf16* const b = RandomBf16(kCopies * rows * wide);
  bf16* const weight = RandomBf16(kHidden);
  const auto part = [&](bf16* data, int copy, int64_t cols) {
    return Rows<bf16>(data + copy * rows * wide, rows, cols);
  };
  const double row_bytes = 2.0 * rows;
  timer.Report("rms_norm hidden", rows, 2 * row_bytes * kHidden, [&](int c, Stream& s) {
    RmsNormSm90({part(a, c, kHidden), weight, kHidden, 1e-6f, part(b, c, kHidden)}, s);
  });
  timer.Report("residual_norm", rows, 4 * row_bytes * kHidden, [&](int c, Stream& s) {
    ResidualNormSm90({part(a, c, kHidden), part(b, c, kHidden), weight, 1e-6f, part(b, c, kHidden)},
                     s);
  });
  const RopeTable host_table = BuildRopeTable({.theta = 1e6, .rotary_dim = kHeadDim}, 4096);
  RopeView table = host_table.view();
  table.cos = OnDevice(host_table.cos);
  table.sin = OnDevice(host_table.sin);
  std::vector<int32_t> places(rows);
  for (int64_t t = 0; t < rows; ++t) places[t] = static_cast<int32_t>(t * 7 % 4096);
  int32_t* const positions = OnDevice(places);
  const int64_t q_cols = kHeads * kHeadDim;
  const int64_t kv_cols = kKvHeads * kHeadDim;
  const PagedKv kv{RandomBf16(4096 * 2 * kv_cols), 256, 16, kKvHeads, kHeadDim, 16 * 2 * kv_cols};
  uint8_t* const faults = Zeros<uint8_t>(rows);
  const auto norm_rope_write = [&](const bf16* norm) {
    return [&, norm](int c, Stream& s) {
      NormRopeWriteSm90({.qkv = part(a, c, q_cols + 2 * kv_cols),
                         .num_heads = kHeads,
                         .q_norm = norm,
                         .k_norm = norm,
                         .eps = 1e-6f,
                         .positions = positions,
                         .table = table,
                         .slots = positions,
                         .kv = kv,
                         .row_faults = faults},
                        s);
    };
  };
  const double qkv_bytes = row_bytes * static_cast<double>(2 * q_cols + 5 * kv_cols);
  timer.Report("norm_rope_write", rows, qkv_bytes, norm_rope_write(weight));
  timer.Report("norm_rope_write, no norms", rows, qkv_bytes, norm_rope_write(nullptr));
  timer.Report("silu_mul", rows, 3 * row_bytes * kIntermediate, [&](int c, Stream& s) {
    const Rows<bf16> both(a + c * rows * wide, rows, wide);
    SiluMulSm90({both.Columns(0, kIntermediate), both.Columns(kIntermediate, wide),
                 part(b, c, kIntermediate)},
                s);
  });
  bf16* const embeddings = RandomBf16(4096 * kHidden);
  timer.Report("embedding", rows, 2 * row_bytes * kHidden, [&](int c, Stream& s) {
    EmbeddingSm90({{embeddings, 4096, kHidden}, positions, part(b, c, kHidden)}, s);
  });
  float* const scores = Zeros<float>(rows * 128);
  int32_t* const ids = Zeros<int32_t>(rows * 8);
  float* const weights = Zeros<float>(rows * 8);
  timer.Report("moe_route 8 of 128", rows, 4.0 * rows * 128, [&](int, Stream& s) {
    MoeRouteSm90({{scores, rows, 128}, true, {ids, rows, 8}, {weights, rows, 8}}, s);
  });
  bf16* const expert_rows = RandomBf16(8 * rows * kHidden);
  timer.Report("moe_combine 8", rows, 9 * row_bytes * kHidden, [&](int c, Stream& s) {
    MoeCombineSm90({{expert_rows, 8 * rows, kHidden}, {weights, rows, 8}, part(b, c, kHidden)}, s);
  });
}

// Rows of logits that differ by a rotation; one id stands out, as in text.
struct Logits {
  explicit Logits(int64_t rows, float spread) : rows(rows) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0f, spread);
    std::vector<float> row(kVocab);
    for (float& value : row) value = normal(random);
    row[kVocab / 3] = 5.3f * spread;
    std::vector<float> all;
    for (int64_t r = 0; r < kCopies * rows; ++r) {
      std::rotate(row.begin(), row.begin() + 1009, row.end());
      all.insert(all.end(), row.begin(), row.end());
    }
    z = OnDevice(all);
    sums = Zeros<LogitSums>(kCopies * rows);
    block_max = Zeros<float>(kCopies * rows * kBlocks);
    block_sums = Zeros<uint64_t>(kCopies * rows * kBlocks);
  }

  Rows<float> Z(int c) const { return {z + c * rows * kVocab, rows, kVocab}; }
  LogitSums* Sums(int c) const { return sums + c * rows; }
  Rows<float> BlockMax(int c) const { return {block_max + c * rows * kBlocks, rows, kBlocks}; }
  Rows<uint64_t> BlockSums(int c) const { return {block_sums + c * rows * kBlocks, rows, kBlocks}; }

  int64_t rows;
  float* z;
  LogitSums* sums;
  float* block_max;
  uint64_t* block_sums;
};

void BenchLogprob(Timer& timer, const Logits& logits, int num_top) {
  const int64_t rows = logits.rows;
  std::vector<LogprobQuery> host(rows);
  for (int64_t r = 0; r < rows; ++r) host[r] = {static_cast<int32_t>(r), 77, num_top, r * 20};
  const LogprobQuery* const queries = OnDevice(host);
  LogprobAnswer* const answers = Zeros<LogprobAnswer>(rows);
  int32_t* const top_ids = Zeros<int32_t>(rows * 20);
  float* const top_logprobs = Zeros<float>(rows * 20);
  char name[32];
  std::snprintf(name, sizeof(name), "logprob top %d, rank of any", num_top);
  timer.Report(name, rows, num_top < 0 ? 32.0 * rows : 4.0 * rows * kBlocks, [&](int c, Stream& s) {
    LogprobSm90({.logits = logits.Z(c),
                 .sums = logits.Sums(c),
                 .block_max = logits.BlockMax(c),
                 .num_queries = rows,
                 .queries = queries,
                 .answers = answers,
                 .top_ids = top_ids,
                 .top_logprobs = top_logprobs},
                s);
  });
}

void BenchSample(Timer& timer, const Logits& logits, const char* name, SampleRow row) {
  const int64_t rows = logits.rows;
  std::vector<SampleRow> host(rows, row);
  for (int64_t r = 0; r < rows; ++r) {
    host[r].row = static_cast<int32_t>(r);
    host[r].slot = -1;
    host[r].position = static_cast<uint32_t>(r);
  }
  const bool changed = row.num_output > 0 || row.inverse_temperature != 1.0f || row.top_k > 0 ||
                       row.top_p != kTopPOff || row.log_min_p != kDropped;
  const SampleRow* const device_rows = OnDevice(host);
  SampleOutcome* const outcomes = Zeros<SampleOutcome>(rows);
  int32_t* const drawn = Zeros<int32_t>(rows);
  timer.Report(name, rows, changed ? 4.0 * rows * kVocab : 12.0 * rows * kBlocks,
               [&](int c, Stream& s) {
                 const Status status = SampleSm90({.logits = logits.Z(c),
                                                   .sums = logits.Sums(c),
                                                   .block_max = logits.BlockMax(c),
                                                   .block_sums = logits.BlockSums(c),
                                                   .num_rows = rows,
                                                   .rows = device_rows,
                                                   .outcomes = outcomes,
                                                   .drawn = drawn,
                                                   .all_plain = !changed,
                                                   .num_edited = IsEdited(row) ? rows : 0},
                                                  s);
                 VX_CHECK(status.ok(), "scratch");
               });
}

void BenchLogits(Timer& timer, int64_t rows) {
  const Logits logits(rows, 3.0f);
  timer.Report("sum_logits", rows, 4.0 * rows * kVocab, [&](int c, Stream& s) {
    SumLogitsSm90({.logits = logits.Z(c),
                   .sums = logits.Sums(c),
                   .block_max = logits.BlockMax(c),
                   .block_sums = logits.BlockSums(c)},
                  s);
  });
  Stream none;
  for (int c = 1; c < kCopies; ++c) {
    SumLogitsSm90({.logits = logits.Z(c),
                   .sums = logits.Sums(c),
                   .block_max = logits.BlockMax(c),
                   .block_sums = logits.BlockSums(c)},
                  none);
  }
  CheckCuda(cudaDeviceSynchronize());
  for (const int num_top : {-1, 0, 5, 20}) BenchLogprob(timer, logits, num_top);
  std::vector<int32_t> tokens;  // of every row
  for (int32_t n = 0; n < 1000; ++n) tokens.push_back(n * 151 % 75000);
  SampleRow penalties{.num_prompt = 500, .num_output = 500, .repetition = 1.1f, .frequency = 0.1f};
  penalties.tokens = OnDevice(tokens);
  BenchSample(timer, logits, "sample greedy", {.greedy = true});
  BenchSample(timer, logits, "sample temperature 1", {});
  BenchSample(timer, logits, "sample temperature 0.7", {.inverse_temperature = 1.4285715f});
  BenchSample(timer, logits, "sample penalties", penalties);
  BenchSample(timer, logits, "sample min-p 0.05", {.log_min_p = -3.0f});
  BenchSample(timer, logits, "sample top-k 50", {.top_k = 50});
  BenchSample(timer, logits, "sample top-k 5000", {.top_k = 5000});
  BenchSample(timer, logits, "sample top-p 0.95", {.top_p = 0xf3333333});
  BenchSample(timer, logits, "sample 0.6, 20, 0.95",
              {.inverse_temperature = 1.6666666f, .top_k = 20, .top_p = 0xf3333333});
  const Logits peaked(rows, 1.5f * 3.0f);
  for (int c = 0; c < kCopies; ++c) {
    SumLogitsSm90({.logits = peaked.Z(c),
                   .sums = peaked.Sums(c),
                   .block_max = peaked.BlockMax(c),
                   .block_sums = peaked.BlockSums(c)},
                  none);
  }
  CheckCuda(cudaDeviceSynchronize());
  BenchSample(timer, peaked, "sample top-p 0.95, peaked", {.top_p = 0xf3333333});
}

}  // namespace
}  // namespace vexact

int main() {
  vexact::Timer timer;
  for (const int64_t rows : {1, 8, 64, 256, 2048}) vexact::BenchLayers(timer, rows);
  for (const int64_t rows : {1, 8, 64}) vexact::BenchLogits(timer, rows);
}
