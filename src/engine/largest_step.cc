#include "engine/largest_step.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace vexact {
namespace {

std::shared_ptr<const SamplingParams> CostlyParams() {
  SamplingParams params;
  params.temperature = 0.8;
  params.top_p = 0.9;
  params.repetition_penalty = 1.1;
  params.logprobs = 1;
  params.logprobs_mode = LogprobsMode::kProcessed;
  return std::make_shared<const SamplingParams>(params);
}

}  // namespace

StepPlan LargestStep(const ModelRunnerOptions& options) {
  const auto params = CostlyParams();
  StepPlan plan;
  int32_t budget = options.max_num_batched_tokens;
  int32_t num_blocks = 0;
  for (int32_t slot = 0; slot < options.max_num_seqs && budget > 0; ++slot) {
    const int32_t sequences_left = options.max_num_seqs - slot;
    const int32_t share = (budget + sequences_left - 1) / sequences_left;
    const int32_t length = std::min(share, options.max_model_len);
    budget -= length;
    const std::vector<int32_t> tokens(length, 0);
    StartedSequence started;
    started.id = slot;
    started.slot = slot;
    started.params = params;
    started.prompt_ids = std::make_shared<const std::vector<int32_t>>(tokens);
    plan.started.push_back(std::move(started));
    PlannedSequence part;
    part.id = slot;
    part.slot = slot;
    part.tokens = tokens;
    part.block_table.resize((length + options.block_size - 1) / options.block_size);
    std::iota(part.block_table.begin(), part.block_table.end(), num_blocks);
    num_blocks += static_cast<int32_t>(part.block_table.size());
    part.num_prompt_tokens = length;
    part.draws = length < options.max_model_len;
    plan.sequences.push_back(std::move(part));
  }
  return plan;
}

int32_t NumBlocksOf(const StepPlan& plan) {
  int32_t num_blocks = 0;
  for (const PlannedSequence& part : plan.sequences) {
    for (const int32_t block : part.block_table) num_blocks = std::max(num_blocks, block + 1);
  }
  return num_blocks;
}

}  // namespace vexact
