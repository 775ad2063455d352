// What a step costs the thread that plans it: plan, arrays, outputs and commit of decoding
// sequences, without the model. It runs while the step before is computed.
#include <benchmark/benchmark.h>

#include "batch/batch_inputs.h"
#include "output/output_processor.h"
#include "scheduler/scheduler.h"

namespace vexact {
namespace {

constexpr int32_t kPromptTokens = 500;
constexpr int32_t kBlockSize = 16;
constexpr int32_t kMaxOutput = 1 << 20;

struct DecodingEngine {
  explicit DecodingEngine(int32_t num_sequences)
      : scheduler(
            {.max_num_batched_tokens = num_sequences * kPromptTokens,
             .max_num_seqs = num_sequences,
             .blocks = {.num_blocks = kMaxOutput / kBlockSize * 2, .block_size = kBlockSize}}),
        output(nullptr) {
    const auto params = std::make_shared<const SamplingParams>();
    for (int32_t i = 0; i < num_sequences; ++i) {
      SequenceSpec spec;
      spec.id = i;
      spec.prompt_ids = std::make_shared<const std::vector<int32_t>>(kPromptTokens, i);
      spec.params = params;
      spec.max_output_tokens = kMaxOutput;
      spec.targets_begin = spec.targets_end = kPromptTokens;
      spec.prefix_root = std::make_shared<const PrefixRoot>("r");
      SampleSpec sample;
      sample.sequence_id = i;
      sample.params = params;
      sample.prompt_ids = spec.prompt_ids;
      sample.max_output_tokens = kMaxOutput;
      output.Add(std::move(sample));
      scheduler.Add(std::move(spec));
    }
    Step();
  }

  void Step() {
    const StepPlan plan = scheduler.PlanStep();
    benchmark::DoNotOptimize(BuildBatch(plan, kBlockSize));
    StepResult result;
    result.sequences.resize(plan.sequences.size());
    std::vector<SequenceOutput> outputs;
    const Stops stops = output.Append(plan, result, &outputs);
    scheduler.Commit(result, stops);
    benchmark::DoNotOptimize(outputs);
  }

  Scheduler scheduler;
  OutputProcessor output;
};

void BM_HostStep(benchmark::State& state) {
  DecodingEngine engine(static_cast<int32_t>(state.range(0)));
  for (auto _ : state) engine.Step();
}
BENCHMARK(BM_HostStep)->Arg(1)->Arg(64)->Arg(512)->Iterations(200)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace vexact
