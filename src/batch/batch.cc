#include <algorithm>

#include "base/check.h"
#include "batch/batch_inputs.h"

namespace vexact {
namespace {

void AppendTokens(const PlannedSequence& part, int32_t block_size, BatchInputs* batch) {
  for (size_t i = 0; i < part.tokens.size(); ++i) {
    const bool pending = part.tokens[i] == kPendingToken;
    VX_CHECK(!pending || i + 1 == part.tokens.size());
    const int32_t position = part.first_position + static_cast<int32_t>(i);
    batch->token_ids.push_back(pending ? 0 : part.tokens[i]);
    batch->pending_slots.push_back(pending ? part.slot : -1);
    batch->positions.push_back(position);
    batch->kv_slots.push_back(part.block_table[position / block_size] * block_size +
                              position % block_size);
  }
}

// `first_row` is the token row of the part's first token.
void AppendLogitRows(const PlannedSequence& part, int32_t sequence, int32_t first_row,
                     BatchInputs* batch) {
  LogitRow row;
  row.sequence = sequence;
  row.slot = part.slot;
  for (int32_t target = part.targets_begin; target < part.targets_end; ++target) {
    row.token_row = first_row + target - 1 - part.first_position;
    row.position = target;
    row.in_prompt = target < part.num_prompt_tokens;
    row.output_len = std::max(0, target - part.num_prompt_tokens);
    row.target_id = part.target_ids[target - part.targets_begin];
    row.redraws = part.redraws && !row.in_prompt;
    batch->logit_rows.push_back(row);
  }
  if (!part.draws) return;
  const auto num_tokens = static_cast<int32_t>(part.tokens.size());
  row.token_row = first_row + num_tokens - 1;
  row.position = part.first_position + num_tokens;
  row.in_prompt = false;
  row.output_len = row.position - part.num_prompt_tokens;
  row.draws = true;
  row.redraws = false;
  row.target_id = 0;
  batch->logit_rows.push_back(row);
}

}  // namespace

BatchInputs BuildBatch(const StepPlan& plan, int32_t block_size) {
  BatchInputs batch;
  batch.query_start.push_back(0);
  for (size_t s = 0; s < plan.sequences.size(); ++s) {
    const PlannedSequence& part = plan.sequences[s];
    const auto first_row = static_cast<int32_t>(batch.num_tokens());
    AppendTokens(part, block_size, &batch);
    AppendLogitRows(part, static_cast<int32_t>(s), first_row, &batch);
    batch.mask_reach.insert(batch.mask_reach.end(), part.mask_reach.begin(), part.mask_reach.end());
    const auto num_tokens = static_cast<int32_t>(part.tokens.size());
    batch.query_start.push_back(first_row + num_tokens);
    batch.context_len.push_back(part.first_position + num_tokens);
    batch.block_table_start.push_back(static_cast<int32_t>(batch.block_tables.size()));
    batch.block_tables.insert(batch.block_tables.end(), part.block_table.begin(),
                              part.block_table.end());
  }
  return batch;
}

}  // namespace vexact
