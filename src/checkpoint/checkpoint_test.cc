#include "checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <string>

#include "checkpoint/expected_tensors.h"

namespace vexact {
namespace {

std::string TinyModel(const std::string& name) {
  return std::string(VEXACT_SOURCE_DIR) + "/models/" + name;
}

class TinyModels : public testing::TestWithParam<const char*> {};

TEST_P(TinyModels, LoadEveryExpectedTensorFromTheMapping) {
  const auto checkpoint = Checkpoint::Open(TinyModel(GetParam()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  size_t count = 0;
  const auto load = [&](const ExpectedTensor& expected) -> Status {
    VX_ASSIGN_OR_RETURN(const Bf16Tensor tensor,
                        checkpoint->Load(expected.name, expected.shape));
    EXPECT_TRUE(tensor.is_mapped) << expected.name;
    EXPECT_EQ(tensor.shape, expected.shape);
    ++count;
    return {};
  };
  const Status status = VisitExpectedTensors(checkpoint->config(), load);
  EXPECT_TRUE(status.ok()) << status.error().message;
  EXPECT_EQ(count, checkpoint->tensors().size());
}

INSTANTIATE_TEST_SUITE_P(All, TinyModels,
                         testing::Values("tiny-llama", "tiny-qwen2", "tiny-qwen3",
                                         "tiny-qwen3-moe"));

}  // namespace
}  // namespace vexact
