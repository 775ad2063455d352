#include "cli/compare_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vexact {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

StepStats Decode(int32_t sequences, double ms) {
  return {.num_requests = sequences,
          .num_decode_tokens = sequences,
          .kv_blocks_used = 10,
          .milliseconds = ms};
}

CompareMode ModeOf(Mode mode, std::vector<double> walls, double step_ms) {
  CompareMode result;
  result.mode = mode;
  result.attn_impl = mode == Mode::kInvariant ? "fa-one" : "fa-other";
  for (const double wall : walls) {
    CompareRun& run = result.runs.emplace_back();
    run.wall_s = wall;
    run.output_tokens = 100;
    run.steps = {{.num_requests = 3, .num_prefill_tokens = 30, .milliseconds = 50.0},
                 Decode(3, step_ms),
                 Decode(4, step_ms + 2),
                 Decode(1, 1.0)};
  }
  return result;
}

CompareReport Report() {
  CompareReport report;
  report.floor = {.weight_words = 1000,
                  .kv_bytes_per_token = 10,
                  .block_size = 16,
                  .bytes_per_s = 1e6,
                  .macs_per_s = 1e9};
  report.modes = {ModeOf(Mode::kInvariant, {3.0, 2.0, 10.0}, 4.0),
                  ModeOf(Mode::kVariant, {1.0, 2.0}, 2.0)};
  report.modes[1].calls = {.linear = 40, .free_linear = 10, .attention = 4};
  report.modes[1].linear_choices = {"a choice"};
  return report;
}

TEST(CompareReport, TakesTheMedianAndTheSpread) {
  const WallTimes three = WallTimesOf(Report().modes[0]);
  EXPECT_EQ(three.median_s, 3.0);
  EXPECT_EQ(three.least_s, 2.0);
  EXPECT_EQ(three.most_s, 10.0);
  EXPECT_EQ(WallTimesOf(Report().modes[1]).median_s, 1.5);
}

TEST(CompareReport, DecodeStepsAreGroupedByTheirSequencesWithTheirFloor) {
  const CompareReport report = Report();
  const std::vector<StepTimes> times = DecodeStepTimes(report.modes[0], report.floor);
  ASSERT_EQ(times.size(), 2u);  // the step with a prompt is in none
  EXPECT_EQ(times[0].up_to, 1);
  EXPECT_EQ(times[0].mean_ms, 1.0);
  EXPECT_EQ(times[1].up_to, 4);
  EXPECT_EQ(times[1].count, 6);
  EXPECT_EQ(times[1].mean_ms, 5.0);
  EXPECT_DOUBLE_EQ(times[1].floor_ms, 1e3 * (2000 + 10 * 16 * 10) / 1e6);
  StepFloor bound_by_work = report.floor;
  bound_by_work.macs_per_s = 1e5;
  EXPECT_DOUBLE_EQ(bound_by_work.Milliseconds(Decode(4, 0)), 1e3 * 4000 / 1e5);
}

TEST(CompareReport, OtherBatchesAreFound) {
  CompareReport report = Report();
  EXPECT_EQ(BatchDifference(report), "");
  report.modes[1].runs[1].steps[2].num_decode_tokens = 3;
  EXPECT_THAT(BatchDifference(report),
              HasSubstr("run 2 of mode variant: step 2: expected 4 requests"));
  report.modes[0].runs[2].steps.pop_back();
  EXPECT_THAT(BatchDifference(report),
              HasSubstr("run 3 of mode invariant: expected 4 steps, found 3"));
}

TEST(CompareReport, JsonHasEveryFigure) {
  const auto json = nlohmann::json::parse(CompareJson(Report()));
  EXPECT_EQ(json["invariant_over_variant"], 2.0);
  EXPECT_EQ(json["same_batches"], true);
  EXPECT_EQ(json["modes"][0]["mode"], "invariant");
  EXPECT_EQ(json["modes"][0]["attn_impl"], "fa-one");
  EXPECT_EQ(json["modes"][1]["attn_impl"], "fa-other");
  EXPECT_EQ(json["modes"][0]["runs"].size(), 3u);
  EXPECT_EQ(json["modes"][1]["linear_calls_not_canonical"], 10);
  EXPECT_EQ(json["modes"][1]["decode_steps"][1]["sequences_up_to"], 4);
}

TEST(CompareReport, MarkdownSaysHowOftenVariantWasFree) {
  const std::string text = CompareMarkdown(Report(), "picture.svg");
  EXPECT_THAT(text, HasSubstr("](picture.svg)"));
  EXPECT_THAT(text, HasSubstr("| invariant | fa-one | 3.000 | 2.000 - 10.000 | 33.3 | 4 |"));
  EXPECT_THAT(text, HasSubstr("Invariant / variant: 2.0000"));
  EXPECT_THAT(text, HasSubstr("linear: 10 of 40 calls (25.0 %)"));
  EXPECT_THAT(text, HasSubstr("attention: 0 of 4 calls; no free schedule was faster"));
  EXPECT_THAT(text, HasSubstr("a choice"));
}

TEST(CompareReport, ThePictureHasBothModesInBothPanels) {
  const std::string svg = CompareSvg(Report());
  EXPECT_EQ(svg.find("<svg "), 0u);
  EXPECT_EQ(svg.substr(svg.size() - 7), "</svg>\n");
  EXPECT_THAT(svg, HasSubstr("invariant 3.000"));
  EXPECT_THAT(svg, HasSubstr("variant 1.500"));
  EXPECT_THAT(svg, AllOf(HasSubstr(">fa-one<"), HasSubstr(">fa-other<")));
  size_t curves = 0;
  for (size_t at = svg.find("<polyline"); at != std::string::npos;
       at = svg.find("<polyline", at + 1)) {
    ++curves;
  }
  EXPECT_EQ(curves, 3u);  // two modes and the floor
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace vexact
