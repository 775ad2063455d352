// GMAC/s: BM_Attention/<mode>/<target>/<model>/<sequences>x<context>/<new tokens a sequence>/
// <threads>.
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/mode.h"

namespace vexact {
namespace {

struct Model {
  const char* name;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
};
constexpr Model kModels[] = {{"smollm2", 9, 3, 64}, {"qwen3-1.7b", 16, 8, 128}};

struct Load {
  int64_t sequences;
  int64_t context;
  int64_t tokens;  // of each sequence, the last ones of the context
};
constexpr Load kLoads[] = {{1, 500, 1}, {64, 500, 1}, {1, 4000, 1}, {1, 512, 512}, {1, 2048, 256}};

std::vector<bf16> Gaussian(int64_t count, float sigma) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<bf16> values(count);
  for (bf16& value : values) value = Bf16FromFloat(normal(random));
  return values;
}

// Products of q with k and of p with v at positions that are seen.
double CountMacs(const Model& model, const Load& load) {
  double positions = 0;
  for (int64_t t = 0; t < load.tokens; ++t) positions += static_cast<double>(load.context - t);
  return positions * static_cast<double>(load.sequences * model.heads * model.head_dim * 2);
}

void RunAttention(benchmark::State& state, Mode mode, CpuTarget target, const Model& model,
                  const Load& load, int threads) {
  ThreadPool pool = ThreadPool::Create(threads).value();
  Stream stream{&pool};
  const int64_t block_size = 16;
  const int64_t blocks = (load.context + block_size - 1) / block_size;
  const int64_t block_stride = 2 * model.kv_heads * block_size * model.head_dim;
  std::vector<bf16> kv = Gaussian(load.sequences * blocks * block_stride, 1.0f);
  const int64_t tokens = load.sequences * load.tokens;
  const int64_t width = model.heads * model.head_dim;
  const std::vector<bf16> q = Gaussian(tokens * width, 1.0f);
  std::vector<bf16> y(tokens * width);
  std::vector<int32_t> starts;
  for (int64_t s = 0; s <= load.sequences; ++s) {
    starts.push_back(static_cast<int32_t>(s * load.tokens));
  }
  const std::vector<int32_t> contexts(load.sequences, static_cast<int32_t>(load.context));
  std::vector<int32_t> table_starts;
  for (int64_t s = 0; s < load.sequences; ++s) {
    table_starts.push_back(static_cast<int32_t>(s * blocks));
  }
  std::vector<int32_t> tables(load.sequences * blocks);
  for (size_t i = 0; i < tables.size(); ++i) tables[i] = static_cast<int32_t>(i);
  const AttentionArgs args{
      Rows<const bf16>(q.data(), tokens, width),
      Rows<bf16>(y.data(), tokens, width),
      model.heads,
      {kv.data(), load.sequences * blocks, block_size, model.kv_heads, model.head_dim,
       block_stride},
      {load.sequences, starts.data(), contexts.data(), table_starts.data(), tables.data()}};
  const auto attention = mode == Mode::kInvariant ? AttentionCpu : AttentionVariantCpu;
  for (auto _ : state) attention(target, args, stream);
  state.counters["GMAC/s"] = benchmark::Counter(1e-9 * CountMacs(model, load),
                                                benchmark::Counter::kIsIterationInvariantRate);
}

[[maybe_unused]] const int kRegistered = [] {
  for (const Mode mode : {Mode::kInvariant, Mode::kVariant}) {
    for (const CpuTarget target : SupportedCpuTargets()) {
      for (const Model& model : kModels) {
        for (const Load& load : kLoads) {
          for (const int threads : {1, 2}) {
            const std::string name = fmt::format(
                "BM_Attention/{}/{}/{}/{}x{}/{}/{}", ModeName(mode), CpuTargetName(target),
                model.name, load.sequences, load.context, load.tokens, threads);
            benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
              RunAttention(state, mode, target, model, load, threads);
            })->UseRealTime();
          }
        }
      }
    }
  }
  return 0;
}();

}  // namespace
}  // namespace vexact
