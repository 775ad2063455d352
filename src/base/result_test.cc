#include "base/result.h"

#include <gtest/gtest.h>

namespace vexact {
namespace {

Result<int> Half(int x) {
  if (x % 2 != 0) return InvalidArgument("expected an even number, found {}", x);
  return x / 2;
}

Result<int> Quarter(int x) {
  VX_ASSIGN_OR_RETURN(const int half, Half(x));
  return Half(half);
}

TEST(Result, CarriesValueOrErrorThroughMacros) {
  EXPECT_EQ(*Quarter(12), 3);
  ASSERT_FALSE(Quarter(6).ok());
  EXPECT_EQ(Quarter(6).error().message, "expected an even number, found 3");
  EXPECT_EQ(Quarter(6).error().code, ErrorCode::kInvalidArgument);
}

TEST(ResultDeathTest, ReadingTheValueOfAnErrorAborts) {
  EXPECT_DEATH(static_cast<void>(Half(1).value()), "expected an even number");
}

}  // namespace
}  // namespace vexact
