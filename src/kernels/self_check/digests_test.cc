#include "kernels/self_check/digests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vexact {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kAllRows = 2048;
constexpr int64_t kNoRow = -1;

// A residual and its norm of 8 columns. Row `other_row` has another input; with `in_few`, only in
// calls of at most 100 rows.
DigestCase Residual(int64_t other_row = kNoRow, bool in_few = false) {
  constexpr int64_t kCols = 8;
  const auto run = [=](OperatorCall& call, const LinearWeight*, int64_t begin,
                       int64_t end) -> Status {
    auto a = MakeRows<bf16>({.tag = 1}, begin, end, kCols, *call.stream().pool);
    const bool changes = !in_few || end - begin <= 100;
    if (changes && begin <= other_row && other_row < end) {
      a[static_cast<size_t>((other_row - begin) * kCols)] =
          Bf16FromFloat(256.0f);  // none is so large
    }
    call.backend().ResidualNorm({.hidden = call.Out<bf16>("hidden", end - begin, kCols, kCols, a),
                                 .branch = call.InRows({.tag = 2}, begin, end, kCols),
                                 .weight = call.InRows({.tag = 3}, 0, 1, kCols).data,
                                 .eps = 1e-6f,
                                 .normed = call.Out<bf16>("normed", end - begin, kCols)},
                                call.stream());
    return {};
  };
  return {.name = "residual_norm, 8", .run = run};
}

class Digests : public testing::Test {
 protected:
  std::unique_ptr<Backend> cpu_ = MakeCpuBackend();
  ThreadPool pool_ = ThreadPool::Create(2).value();
};

TEST_F(Digests, TheSameOperatorHasThemAtEveryNumberOfRows) {
  const auto recorded = RecordDigests(Residual(), kAllRows, *cpu_, pool_);
  ASSERT_TRUE(recorded.ok()) << recorded.error().message;
  const auto all = CompareDigests(Residual(), *recorded, kAllRows, *cpu_, pool_);
  ASSERT_TRUE(all.ok()) << all.error().message;
  EXPECT_THAT(all->differing, IsEmpty());
  EXPECT_EQ(all->num_rows, kAllRows);

  const auto some = CompareDigests(Residual(), *recorded, 16, *cpu_, pool_);
  ASSERT_TRUE(some.ok()) << some.error().message;
  EXPECT_THAT(some->differing, IsEmpty());
  EXPECT_EQ(some->num_rows, 16 + 9);  // nine later blocks are one row
}

TEST_F(Digests, NameTheBlockOfARowThatDiffers) {
  const auto recorded = RecordDigests(Residual(), kAllRows, *cpu_, pool_);
  ASSERT_TRUE(recorded.ok()) << recorded.error().message;
  const auto compared = CompareDigests(Residual(40), *recorded, kAllRows, *cpu_, pool_);
  ASSERT_TRUE(compared.ok()) << compared.error().message;
  EXPECT_THAT(compared->differing, ElementsAre("rows 33 to 62"));
}

TEST_F(Digests, RecordingRefusesBitsThatDependOnTheNumberOfRows) {
  const auto recorded = RecordDigests(Residual(40, /*in_few=*/true), kAllRows, *cpu_, pool_);
  ASSERT_FALSE(recorded.ok());
  EXPECT_EQ(recorded.error().code, ErrorCode::kInternal);
  EXPECT_THAT(recorded.error().message, HasSubstr("residual_norm, 8: expected"));
  EXPECT_THAT(recorded.error().message, HasSubstr("found row 40 of 63"));
  // Not seen where no such number of rows is asked for.
  EXPECT_TRUE(RecordDigests(Residual(40, /*in_few=*/true), 33, *cpu_, pool_).ok());
}

}  // namespace
}  // namespace vexact
