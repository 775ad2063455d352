#include "engine/largest_step.h"

#include <gtest/gtest.h>

#include <set>

namespace vexact {
namespace {

struct Case {
  int32_t tokens, seqs, max_len;
  size_t sequences;  // expected
  int32_t longest;
};

TEST(LargestStep, SpendsTheBudgetOnAsManySequencesAsMayRun) {
  const Case cases[] = {{2048, 512, 4096, 512, 4}, {100, 30, 4096, 30, 4}, {8, 30, 4096, 8, 1},
                        {2048, 1, 4096, 1, 2048},  {64, 2, 20, 2, 20},     {5, 1, 1, 1, 1}};
  for (const Case& c : cases) {
    const StepPlan plan = LargestStep({.max_num_batched_tokens = c.tokens,
                                       .max_num_seqs = c.seqs,
                                       .max_model_len = c.max_len,
                                       .block_size = 16});
    ASSERT_EQ(plan.sequences.size(), c.sequences);
    ASSERT_EQ(plan.started.size(), c.sequences);
    int32_t tokens = 0;
    std::set<int32_t> slots;
    std::set<int32_t> blocks;
    size_t num_blocks = 0;
    for (const PlannedSequence& part : plan.sequences) {
      const auto length = static_cast<int32_t>(part.tokens.size());
      EXPECT_GE(length, 1);
      EXPECT_LE(length, c.longest);
      EXPECT_EQ(part.num_prompt_tokens, length);
      EXPECT_EQ(part.draws, length < c.max_len);
      EXPECT_GE(part.block_table.size() * 16, part.tokens.size());
      tokens += length;
      num_blocks += part.block_table.size();
      slots.insert(part.slot);
      blocks.insert(part.block_table.begin(), part.block_table.end());
    }
    EXPECT_EQ(tokens, std::min(c.tokens, c.seqs * c.max_len));
    EXPECT_EQ(slots.size(), c.sequences);
    EXPECT_EQ(*slots.rbegin(), static_cast<int32_t>(c.sequences) - 1);
    EXPECT_EQ(blocks.size(), num_blocks) << "no block is shared";
    EXPECT_EQ(NumBlocksOf(plan), static_cast<int32_t>(num_blocks));
  }
}

}  // namespace
}  // namespace vexact
