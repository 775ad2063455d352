// What Prepare proves, on a machine with a Hopper GPU. The bits of Run are linear_test.cc's.
#include "kernels/linear/linear_sm90.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/linear/linear_prepare_sm90.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> OurCandidates(const LinearProblem& problem, int64_t rows) {
  std::vector<std::string> names;
  const std::vector<LinearSchedule> candidates =
      LinearCandidates(/*library=*/nullptr, {problem, rows}, Mode::kInvariant, {}).value();
  for (const LinearSchedule& schedule : candidates) {
    names.push_back(schedule.name);
  }
  return names;
}

// Needs no GPU: of tiles as high that cover the tokens in as many blocks the narrowest, in at most
// four blocks of tokens, and with several of them no more blocks than run at once.
TEST(LinearCandidates, AreTheTilesThatLeaveLittleIdle) {
  constexpr LinearProblem kQkv = {4096, 2048, false, false};
  constexpr LinearProblem kGateUp = {12288, 2048, false, false};
  EXPECT_THAT(OurCandidates(kQkv, 9),
              ElementsAre("tiles 64x8", "tiles 64x16", "tiles 128x32", "tiles 192x128", "chain"));
  EXPECT_THAT(OurCandidates(kQkv, 40),
              ElementsAre("tiles 64x16", "tiles 64x24", "tiles 64x48", "tiles 128x32",
                          "tiles 128x64", "tiles 192x128", "chain"));
  EXPECT_THAT(OurCandidates(kGateUp, 9), Not(Contains("tiles 64x8")));
  EXPECT_THAT(OurCandidates(kGateUp, 256), ElementsAre("tiles 128x128", "tiles 192x128", "chain"));
  EXPECT_THAT(OurCandidates(kQkv, 513), ElementsAre("chain"));
  EXPECT_THAT(OurCandidates({4096, 96, false, false}, 9), ElementsAre("chain"));
}

class LinearSm90Test : public testing::Test {
 protected:
  void SetUp() override {
    const auto backend = MakeSm90Backend();
    if (!backend.ok()) GTEST_SKIP() << backend.error().message;
  }
};

constexpr LinearProblem kProblems[] = {
    {1024, 2048, false, false}, {1024, 2048, true, false}, {1024, 2048, false, true}};
constexpr int64_t kRows[] = {1, 16, 65};

TEST_F(LinearSm90Test, TheProofRefusesStepsOf8) {
  const auto linear = LinearSm90::Create(0, Mode::kInvariant).value();
  const Status prepared = linear->Prepare(kProblems, kRows, {.steps_of_8 = true});
  ASSERT_TRUE(prepared.ok()) << prepared.error().message;
  ASSERT_EQ(linear->Choices().size(), 9);
  for (const LinearChoice& choice : linear->Choices()) {
    EXPECT_THAT(choice.refused, Contains("chain of m16n8k8"));
    EXPECT_THAT(choice.schedule, Not(HasSubstr("m16n8k8")));
  }
}

// `down` of Qwen3-1.7B, where the library prefers to split K.
TEST_F(LinearSm90Test, TheProofRefusesASplitOfK) {
  constexpr LinearProblem kDown = {2048, 6144, false, false};
  constexpr int64_t kFewRows[] = {1, 8, 32};
  const auto linear = LinearSm90::Create(0, Mode::kInvariant).value();
  const Status prepared = linear->Prepare({&kDown, 1}, kFewRows, {.split_k = true});
  ASSERT_TRUE(prepared.ok()) << prepared.error().message << ", " << linear->library();
  for (const LinearChoice& choice : linear->Choices()) {
    EXPECT_THAT(choice.refused, Contains(HasSubstr("split-K")));
    EXPECT_THAT(choice.schedule, Not(HasSubstr("split-K")));
  }
}

// The same `down` where nothing is refused: never slower than the canonical choice, and whichever
// won is said with the time of what lost.
TEST_F(LinearSm90Test, ModeVariantTimesAlgorithmsThatAreNotCanonical) {
  constexpr LinearProblem kDown = {2048, 6144, false, false};
  constexpr int64_t kFewRows[] = {1, 8, 32};
  const auto linear = LinearSm90::Create(0, Mode::kVariant).value();
  ASSERT_TRUE(linear->Prepare({&kDown, 1}, kFewRows).ok());
  for (const LinearChoice& choice : linear->Choices()) {
    EXPECT_TRUE(choice.refused.empty());
    EXPECT_NE(choice.fastest_free.name, "") << linear->library();
    EXPECT_EQ(choice.is_canonical,
              choice.fastest_canonical.microseconds <= choice.fastest_free.microseconds);
    EXPECT_EQ(choice.microseconds,
              std::min(choice.fastest_canonical.microseconds, choice.fastest_free.microseconds));
  }
}

TEST_F(LinearSm90Test, WithoutTheLibraryEveryScheduleIsOurs) {
  const auto linear = LinearSm90::Create(0, Mode::kInvariant, "/nowhere/libcublasLt.so").value();
  EXPECT_THAT(linear->library(), HasSubstr("/nowhere/libcublasLt.so"));
  ASSERT_TRUE(linear->Prepare(kProblems, kRows).ok());
  for (const LinearChoice& choice : linear->Choices()) {
    EXPECT_THAT(choice.schedule, Not(HasSubstr("cublasLt")));
    EXPECT_GT(choice.microseconds, 0);
  }
}

// Prepare proves each of ours (its error would name one that is wrong): a last block of 8 outputs,
// a block and two blocks an SM; K of half a stage, of a stage and a half, of fewer stages than the
// ring has, and of more; one to four blocks of tokens, the last of them full or not.
TEST_F(LinearSm90Test, TilesHaveTheChainsBitsAtTheirEdges) {
  constexpr LinearProblem kEdges[] = {{8200, 576, true, false},    {72, 192, false, true},
                                      {1032, 64, true, false},     {8192, 1600, false, true},
                                      {40008, 2048, false, false}, {2056, 6144, true, true}};
  constexpr int64_t kEdgeRows[] = {9,  129, 1,  7,  8,  16,  17,  24,  31,  32,  48,
                                   49, 64,  65, 95, 97, 128, 193, 256, 257, 385, 512};
  const std::span edges(kEdges, ScaledCases(std::size(kEdges), 2));
  const std::span rows(kEdgeRows, ScaledCases(std::size(kEdgeRows), 2));
  const auto linear = LinearSm90::Create(0, Mode::kInvariant, "/nowhere/libcublasLt.so").value();
  const Status prepared = linear->Prepare(edges, rows);
  EXPECT_TRUE(prepared.ok()) << prepared.error().message;
  EXPECT_EQ(linear->Choices().size(), edges.size() * rows.size());
}

TEST_F(LinearSm90Test, OddShapesAreOurs) {
  constexpr LinearProblem kOdd[] = {
      {7, 33, true, false}, {1, 1, false, true}, {130, 20, true, true}};
  const auto linear = LinearSm90::Create(0, Mode::kInvariant).value();
  ASSERT_TRUE(linear->Prepare(kOdd, kRows, {.steps_of_8 = true}).ok());
  for (const LinearChoice& choice : linear->Choices()) {
    EXPECT_THAT(choice.schedule, Not(HasSubstr("cublasLt")));
  }
}

}  // namespace
}  // namespace vexact
