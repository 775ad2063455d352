// The GPU's entry points refuse shapes before they ask for a device: no GPU is needed.
#include <gtest/gtest.h>

#include "kernels/attention/attention.h"

namespace vexact {
namespace {

TEST(AttentionSm90DeathTest, RefusesAnAnswerOfAnotherShape) {
  const AttentionArgs args{
      .q = {nullptr, 2, 32},
      .y = {nullptr, 2, 16},
      .num_heads = 2,
      .kv = {.num_blocks = 1, .block_size = 16, .num_kv_heads = 1, .head_dim = 16},
      .sequences = {}};
  Stream stream;
  EXPECT_DEATH(AttentionSm90(args, stream), "y has the shape of q");
  EXPECT_DEATH(AttentionCute(Mode::kInvariant, args, stream), "y has the shape of q");
  EXPECT_DEATH(AttentionCute(Mode::kVariant, args, stream), "y has the shape of q");
}

}  // namespace
}  // namespace vexact
