// GMAC/s of one core: BM_Linear/<mode>/<target>/<model>.<matrix>/<rows>.
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "kernels/linear/linear.h"
#include "kernels/mode.h"

namespace vexact {
namespace {

struct Shape {
  const char* name;
  int64_t out;
  int64_t in;
};
constexpr Shape kShapes[] = {
    {"smollm2.qo", 576, 576},      {"smollm2.kv", 192, 576},        {"smollm2.gate_up", 1536, 576},
    {"smollm2.down", 576, 1536},   {"smollm2.head", 49152, 576},    {"qwen3-1.7b.q", 2048, 2048},
    {"qwen3-1.7b.kv", 1024, 2048}, {"qwen3-1.7b.gate", 6144, 2048}, {"qwen3-1.7b.down", 2048, 6144},
};

std::vector<bf16> Gaussian(int64_t count, float sigma) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<bf16> values(count);
  for (bf16& value : values) value = Bf16FromFloat(normal(random));
  return values;
}

void RunLinear(benchmark::State& state, Mode mode, CpuTarget target, const Shape& shape,
               int64_t rows) {
  ThreadPool pool = ThreadPool::Create(1).value();
  Stream stream{&pool};
  const std::vector<bf16> w = Gaussian(shape.out * shape.in, 0.05f);
  const std::vector<bf16> x = Gaussian(rows * shape.in, 1.0f);
  std::vector<bf16> y(rows * shape.out);
  const auto weight = PackLinearCpu(target, Rows<const bf16>(w.data(), shape.out, shape.in));
  LinearArgs args{Rows<const bf16>(x.data(), rows, shape.in), &*weight};
  args.y = Rows<bf16>(y.data(), rows, shape.out);
  const auto linear = mode == Mode::kInvariant ? LinearCpu : LinearVariantCpu;
  for (auto _ : state) linear(target, args, stream);
  state.counters["GMAC/s"] =
      benchmark::Counter(1e-9 * static_cast<double>(rows * shape.out * shape.in),
                         benchmark::Counter::kIsIterationInvariantRate);
}

[[maybe_unused]] const int kRegistered = [] {
  for (const Mode mode : {Mode::kInvariant, Mode::kVariant}) {
    for (const CpuTarget target : SupportedCpuTargets()) {
      for (const Shape& shape : kShapes) {
        for (const int64_t rows : {1, 8, 16, 64}) {
          const std::string name = fmt::format("BM_Linear/{}/{}/{}/{}", ModeName(mode),
                                               CpuTargetName(target), shape.name, rows);
          benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
            RunLinear(state, mode, target, shape, rows);
          });
        }
      }
    }
  }
  return 0;
}();

}  // namespace
}  // namespace vexact
