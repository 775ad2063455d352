// The self-check passes on backends that are right, and every operator's checks can fail: each
// fault below is reported by the operator's name.
#include "kernels/self_check/self_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "support/backends.h"
#include "support/faulty_backend.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

using testing::HasSubstr;

SelfCheckReport Check(const Backend& device, const Backend& expected,
                      SelfCheckScope scope = SelfCheckScope::kShort) {
  ThreadPool pool = ThreadPool::Create(2).value();
  Result<SelfCheckReport> report = RunSelfCheck(device, expected, scope, pool);
  VX_CHECK(report.ok(), report.ok() ? "" : report.error().message);
  return std::move(report).value();
}

constexpr const char* kTooSlow = "minutes in a sanitized build, where the operators' tests run";

TEST(SelfCheck, TheCpuHasTheBitsOfTheReference) {
  if (kSanitized) GTEST_SKIP() << kTooSlow;
  const Status status = Check(*MakeCpuBackend(), *MakeReferenceBackend()).status("cpu");
  EXPECT_TRUE(status.ok()) << status.error().message;
}

TEST(SelfCheck, EveryDevicePassesTheFullForm) {
  if (kSanitized) GTEST_SKIP() << kTooSlow;
  for (const NamedBackend& device : AllDevices()) {
    const SelfCheckReport report = Check(*device.backend, *MakeCpuBackend(), SelfCheckScope::kFull);
    const Status status = report.status(device.name);
    EXPECT_TRUE(status.ok()) << status.error().message;
    uint64_t words = 0;
    for (const SelfCheckResult& result : report.results) words += result.words;
    EXPECT_GT(words, 40'000'000);
  }
}

// Both scopes have every operator of backend.h.
TEST(SelfCheck, HasEveryOperator) {
  std::set<std::string> in_short;
  for (const SelfCheckCase& check : SelfCheckCases()) {
    if (check.in_short) in_short.insert(check.op);
  }
  EXPECT_EQ(in_short,
            std::set<std::string>({"linear", "rms_norm", "residual_norm", "norm_rope_write",
                                   "silu_mul", "embedding", "attention", "moe_route", "moe_combine",
                                   "sum_logits", "logprob", "sample"}));
}

// The first operator with a difference; the operators that use its answers come later.
std::string FirstFailed(const SelfCheckReport& report) {
  for (const SelfCheckResult& result : report.results) {
    if (result.differing > 0) return result.op;
  }
  return "";
}

TEST(SelfCheck, OneFlippedBitIsReportedByTheOperatorsName) {
  if (kSanitized) GTEST_SKIP() << kTooSlow;
  const auto cpu = MakeCpuBackend();
  for (const FaultyBackend& faulty : BackendsWithAFlippedBit()) {
    SCOPED_TRACE(faulty.op);
    const SelfCheckReport report = Check(*faulty.backend, *cpu);
    const Status status = report.status("device cuda");
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::kInternal);
    EXPECT_THAT(status.error().message, HasSubstr("device cuda: self-check: " + faulty.op + " ("));
    for (const SelfCheckResult& result : report.results) {
      EXPECT_TRUE(result.op != faulty.op || result.differing <= 1) << result.shape;
      EXPECT_EQ(result.first.empty(), result.differing == 0);
    }
  }
}

TEST(SelfCheck, AnotherArithmeticIsReportedByTheOperatorsName) {
  if (kSanitized) GTEST_SKIP() << kTooSlow;
  const auto cpu = MakeCpuBackend();
  for (const FaultyBackend& faulty : BackendsWithAnotherArithmetic()) {
    EXPECT_EQ(FirstFailed(Check(*faulty.backend, *cpu)), faulty.op) << faulty.fault;
  }
}

}  // namespace
}  // namespace vexact
