// vexact doctor on a machine without a GPU: the CPU's kernels against the plain functions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/cli.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

using testing::HasSubstr;

TEST(Doctor, FindsTheCpusBitsRightOperatorByOperator) {
  if (kSanitized) GTEST_SKIP() << "minutes in a sanitized build";
  const ProgramResult result = Vexact({"doctor", "--device", "cpu", "--quick", "--threads", "2"});
  EXPECT_EQ(result.exit_status, 0) << result.err;
  for (const char* op : {"linear", "rms_norm", "attention", "moe_route", "logprob", "sample"}) {
    EXPECT_THAT(result.out, HasSubstr(op));
  }
  EXPECT_THAT(result.out, HasSubstr("all bits are right"));
}

TEST(Doctor, RefusesADeviceThatItDoesNotKnow) {
  const ProgramResult result = Vexact({"doctor", "--device", "tpu"});
  EXPECT_EQ(result.exit_status, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("--device"));
}

TEST(Doctor, AFileOfDigestsThatIsNotThereIsStatusOne) {
  if (kSanitized) GTEST_SKIP() << "minutes in a sanitized build";
  const ProgramResult result =
      Vexact({"doctor", "--device", "cpu", "--quick", "--compare-digests", "/nowhere.json"});
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, HasSubstr("/nowhere.json"));
}

}  // namespace
}  // namespace vexact
