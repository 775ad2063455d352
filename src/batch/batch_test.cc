#include <gtest/gtest.h>

#include "batch/batch_inputs.h"

namespace vexact {
namespace {

PlannedSequence Part(int32_t first_position, std::vector<int32_t> tokens,
                     std::vector<int32_t> block_table) {
  PlannedSequence part;
  part.first_position = first_position;
  part.tokens = std::move(tokens);
  part.block_table = std::move(block_table);
  return part;
}

TEST(BuildBatch, PlacesEveryTokenInItsBlock) {
  StepPlan plan;
  plan.sequences.push_back(Part(15, {7, 8}, {3, 1}));
  plan.sequences.push_back(Part(0, {9}, {2}));
  const BatchInputs batch = BuildBatch(plan, 16);
  EXPECT_EQ(batch.token_ids, (std::vector<int32_t>{7, 8, 9}));
  EXPECT_EQ(batch.positions, (std::vector<int32_t>{15, 16, 0}));
  EXPECT_EQ(batch.kv_slots, (std::vector<int32_t>{3 * 16 + 15, 1 * 16, 2 * 16}));
  EXPECT_EQ(batch.query_start, (std::vector<int32_t>{0, 2, 3}));
  EXPECT_EQ(batch.context_len, (std::vector<int32_t>{17, 1}));
  EXPECT_EQ(batch.block_table_start, (std::vector<int32_t>{0, 2}));
  EXPECT_EQ(batch.block_tables, (std::vector<int32_t>{3, 1, 2}));
  EXPECT_TRUE(batch.logit_rows.empty());
}

TEST(BuildBatch, NamesTheSlotOfATokenInFlight) {
  StepPlan plan;
  plan.sequences.push_back(Part(4, {kPendingToken}, {0}));
  plan.sequences[0].slot = 5;
  const BatchInputs batch = BuildBatch(plan, 16);
  EXPECT_EQ(batch.pending_slots, std::vector<int32_t>{5});
}

TEST(BuildBatch, ListsTargetsAndThenTheDrawInAscendingRows) {
  StepPlan plan;
  plan.sequences.push_back(Part(0, {1}, {0}));
  PlannedSequence part = Part(2, {10, 11, 12}, {0});
  part.num_prompt_tokens = 4;
  part.targets_begin = 3;
  part.targets_end = 5;
  part.target_ids = {11, 12};
  part.draws = true;
  part.slot = 7;
  plan.sequences.push_back(part);
  const BatchInputs batch = BuildBatch(plan, 16);
  ASSERT_EQ(batch.logit_rows.size(), 3u);
  const LogitRow& prompt = batch.logit_rows[0];
  EXPECT_EQ(prompt.token_row, 1);
  EXPECT_EQ(prompt.sequence, 1);
  EXPECT_EQ(prompt.slot, 7);
  EXPECT_EQ(prompt.position, 3);
  EXPECT_EQ(prompt.target_id, 11);
  EXPECT_TRUE(prompt.in_prompt);
  EXPECT_FALSE(prompt.draws);
  const LogitRow& completion = batch.logit_rows[1];
  EXPECT_EQ(completion.token_row, 2);
  EXPECT_EQ(completion.position, 4);
  EXPECT_EQ(completion.output_len, 0);
  EXPECT_FALSE(completion.in_prompt);
  const LogitRow& draw = batch.logit_rows[2];
  EXPECT_EQ(draw.token_row, 3);
  EXPECT_EQ(draw.position, 5);
  EXPECT_EQ(draw.output_len, 1);
  EXPECT_TRUE(draw.draws);
}

}  // namespace
}  // namespace vexact
