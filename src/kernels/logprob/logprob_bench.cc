// SumLogits and Logprob of one row on one thread: microseconds a row.
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "kernels/logprob/logprob.h"

namespace vexact {
namespace {

struct Row {
  explicit Row(int64_t vocab)
      : z(vocab), block_max(NumVocabBlocks(vocab)), block_sums(NumVocabBlocks(vocab)) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0f, 3.0f);
    for (float& value : z) value = normal(random);
    z[vocab / 3] = 16.0f;
  }
  SumLogitsArgs Args() {
    return {.logits = {z.data(), 1, static_cast<int64_t>(z.size())},
            .has_dropped = false,
            .sums = &sums,
            .block_max = {block_max.data(), 1, static_cast<int64_t>(block_max.size())},
            .block_sums = {block_sums.data(), 1, static_cast<int64_t>(block_sums.size())}};
  }

  std::vector<float> z;
  LogitSums sums;
  std::vector<float> block_max;
  std::vector<uint64_t> block_sums;
};

void BmSumLogits(benchmark::State& state) {
  ThreadPool pool = ThreadPool::Create(1).value();
  Stream stream{&pool};
  Row row(state.range(0));
  for (auto _ : state) SumLogitsCpu(SupportedCpuTargets().back(), row.Args(), stream);
}
BENCHMARK(BmSumLogits)->Arg(49152)->Arg(151936)->Unit(benchmark::kMicrosecond);

// Arguments: vocabulary, top-n (-1: the logprob alone).
void BmLogprob(benchmark::State& state) {
  ThreadPool pool = ThreadPool::Create(1).value();
  Stream stream{&pool};
  Row row(state.range(0));
  const CpuTarget target = SupportedCpuTargets().back();
  const SumLogitsArgs sum = row.Args();
  SumLogitsCpu(target, sum, stream);
  const LogprobQuery query{.row = 0, .id = 77, .num_top = static_cast<int32_t>(state.range(1))};
  LogprobAnswer answer;
  std::vector<int32_t> top_ids(20);
  std::vector<float> top_logprobs(20);
  for (auto _ : state) {
    LogprobCpu(target,
               {.logits = sum.logits,
                .sums = &row.sums,
                .block_max = sum.block_max,
                .num_queries = 1,
                .queries = &query,
                .answers = &answer,
                .top_ids = top_ids.data(),
                .top_logprobs = top_logprobs.data()},
               stream);
  }
}
BENCHMARK(BmLogprob)
    ->Args({49152, -1})
    ->Args({49152, 0})
    ->Args({49152, 5})
    ->Args({49152, 20})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace vexact
