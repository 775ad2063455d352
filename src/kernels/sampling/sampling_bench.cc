// Sample of one row of 49,152 values on one thread, after SumLogits: microseconds a row.
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "kernels/sampling/sampling.h"

namespace vexact {
namespace {

constexpr int64_t kVocab = 49152;

void BmSample(benchmark::State& state, const SampleRow& row) {
  ThreadPool pool = ThreadPool::Create(1).value();
  Stream stream{&pool};
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  std::vector<float> z(kVocab);
  for (float& value : z) value = normal(random);
  z[kVocab / 3] = 16.0f;
  LogitSums sums;
  std::vector<float> block_max(NumVocabBlocks(kVocab));
  std::vector<uint64_t> block_sums(NumVocabBlocks(kVocab));
  const Rows<float> logits(z.data(), 1, kVocab);
  const Rows<float> max_rows(block_max.data(), 1, NumVocabBlocks(kVocab));
  const Rows<uint64_t> sum_rows(block_sums.data(), 1, NumVocabBlocks(kVocab));
  const CpuTarget target = SupportedCpuTargets().back();
  SumLogitsCpu(target,
               {.logits = logits, .sums = &sums, .block_max = max_rows, .block_sums = sum_rows},
               stream);
  SampleRow own = row;
  SampleOutcome outcome;
  for (auto _ : state) {
    ++own.position;
    SampleCpu(target,
              {.logits = logits,
               .sums = &sums,
               .block_max = max_rows,
               .block_sums = sum_rows,
               .num_rows = 1,
               .rows = &own,
               .outcomes = &outcome},
              stream);
  }
}

BENCHMARK_CAPTURE(BmSample, Greedy, {.greedy = true})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BmSample, Temperature1, {})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BmSample, Temperature07, {.inverse_temperature = 1.4285715f})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BmSample, TopK50, {.top_k = 50})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BmSample, TopK5000, {.top_k = 5000})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BmSample, TopP095, {.top_p = 0xf3333333})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BmSample, MinP005, {.log_min_p = -3.0f})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BmSample, All, {.log_min_p = -4.6f, .top_k = 50, .top_p = 0xf3333333})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace vexact
