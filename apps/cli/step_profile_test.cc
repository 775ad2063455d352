#include "cli/step_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vexact {
namespace {

using nlohmann::json;

ProfiledStep Step(int64_t number, uint64_t end_ns, int32_t decode_tokens) {
  StepStats stats;
  stats.step = number;
  stats.num_decode_tokens = decode_tokens;
  return {end_ns, stats};
}

std::vector<json> EventsOf(const json& trace, const std::string& name) {
  std::vector<json> events;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] == "X" && event["name"] == name) events.push_back(event);
  }
  return events;
}

TEST(StepProfile, ATraceHasARowOfStepsAndOneOfKernels) {
  const json trace = json::parse(
      ChromeTrace(10000, {Step(7, 13000, 4), Step(8, 20500, 3)},
                  {{"_ZN6vexact4KernEv", 11000, 12250, 3, 40}, {"plain", 14000, 15000, 3, 41}}));
  const auto steps = EventsOf(trace, "step");
  ASSERT_EQ(steps.size(), 2);
  EXPECT_EQ(steps[0]["ts"], 0.0);
  EXPECT_EQ(steps[0]["dur"], 3.0);
  EXPECT_EQ(steps[1]["ts"], 3.0);
  EXPECT_EQ(steps[1]["dur"], 7.5);
  EXPECT_EQ(steps[1]["args"]["step"], 8);
  EXPECT_EQ(steps[1]["args"]["decode_tokens"], 3);

  const auto kernels = EventsOf(trace, "vexact::Kern()");
  ASSERT_EQ(kernels.size(), 1);
  EXPECT_EQ(kernels[0]["ts"], 1.0);
  EXPECT_EQ(kernels[0]["dur"], 1.25);
  EXPECT_EQ(kernels[0]["tid"], 4);
  EXPECT_EQ(EventsOf(trace, "plain").size(), 1);
}

// The host reads a step's results while the next step's kernels run already.
TEST(StepProfile, AKernelBelongsToTheStepThatWaitedForItsLaunch) {
  const json trace = json::parse(ChromeTrace(0, {Step(1, 1000, 1), Step(2, 2000, 1)},
                                             {{"a", 100, 900, 0, 5},
                                              {"b", 910, 990, 0, 6},
                                              {"c", 1100, 1800, 0, 6},
                                              {"d", 1900, 2100, 0, 7}}));
  EXPECT_EQ(EventsOf(trace, "a").at(0)["args"]["step"], 1);
  EXPECT_EQ(EventsOf(trace, "b").at(0)["args"]["step"], 2);  // its launch went on to 1800
  EXPECT_EQ(EventsOf(trace, "c").at(0)["args"]["step"], 2);
  EXPECT_TRUE(EventsOf(trace, "d").empty());
}

}  // namespace
}  // namespace vexact
