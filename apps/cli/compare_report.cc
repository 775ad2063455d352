#include "cli/compare_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>
#include <nlohmann/json.hpp>

namespace vexact {
namespace {

using nlohmann::ordered_json;

double Ratio(const CompareReport& report) {
  return WallTimesOf(report.modes[0]).median_s / WallTimesOf(report.modes[1]).median_s;
}

bool SameBatch(const StepStats& a, const StepStats& b) {
  return a.num_requests == b.num_requests && a.num_prefill_tokens == b.num_prefill_tokens &&
         a.num_decode_tokens == b.num_decode_tokens;
}

std::string StepText(const StepStats& step) {
  return fmt::format("{} requests, {} prefill and {} decode tokens", step.num_requests,
                     step.num_prefill_tokens, step.num_decode_tokens);
}

// "" if the second run had the batches of the first.
std::string DifferenceOf(const CompareRun& expected, const CompareRun& found) {
  if (expected.steps.size() != found.steps.size()) {
    return fmt::format("expected {} steps, found {}", expected.steps.size(), found.steps.size());
  }
  for (size_t i = 0; i < expected.steps.size(); ++i) {
    if (SameBatch(expected.steps[i], found.steps[i])) continue;
    return fmt::format("step {}: expected {}, found {}", i, StepText(expected.steps[i]),
                       StepText(found.steps[i]));
  }
  return "";
}

ordered_json ModeJson(const CompareMode& mode, const StepFloor& floor) {
  const WallTimes wall = WallTimesOf(mode);
  ordered_json runs = ordered_json::array();
  for (const CompareRun& run : mode.runs) {
    runs.push_back({{"wall_s", run.wall_s},
                    {"output_tokens", run.output_tokens},
                    {"steps", run.steps.size()}});
  }
  ordered_json steps = ordered_json::array();
  for (const StepTimes& times : DecodeStepTimes(mode, floor)) {
    steps.push_back({{"sequences_up_to", times.up_to},
                     {"steps", times.count},
                     {"mean_ms", times.mean_ms},
                     {"floor_ms", times.floor_ms}});
  }
  return {{"mode", ModeName(mode.mode)},
          {"attn_impl", mode.attn_impl},
          {"wall_s", {{"median", wall.median_s}, {"least", wall.least_s}, {"most", wall.most_s}}},
          {"runs", std::move(runs)},
          {"decode_steps", std::move(steps)},
          {"linear_calls", mode.calls.linear},
          {"linear_calls_not_canonical", mode.calls.free_linear},
          {"attention_calls", mode.calls.attention},
          {"attention_calls_not_canonical", mode.calls.free_attention},
          {"linear_choices", mode.linear_choices}};
}

// How often variant left the canonical schedules, for one operator.
std::string FreeText(const char* name, int64_t calls, int64_t free_calls) {
  if (free_calls == 0) {
    return fmt::format("- {}: 0 of {} calls; no free schedule was faster\n", name, calls);
  }
  return fmt::format("- {}: {} of {} calls ({:.1f} %)\n", name, free_calls, calls,
                     100.0 * static_cast<double>(free_calls) / static_cast<double>(calls));
}

std::string StepTable(const CompareReport& report) {
  std::map<int32_t, std::array<StepTimes, 2>> rows;
  for (size_t m = 0; m < 2; ++m) {
    for (const StepTimes& times : DecodeStepTimes(report.modes[m], report.floor)) {
      rows[times.up_to][m] = times;
    }
  }
  std::string text =
      "| sequences up to | steps a mode | invariant ms | variant ms | floor ms |\n"
      "|---|---|---|---|---|\n";
  for (const auto& [up_to, times] : rows) {
    text += fmt::format("| {} | {} / {} | {:.3f} | {:.3f} | {:.3f} |\n", up_to, times[0].count,
                        times[1].count, times[0].mean_ms, times[1].mean_ms, times[0].floor_ms);
  }
  return text;
}

// The picture: two panels of this size beside each other.
constexpr double kPanelWidth = 360;
constexpr double kPanelHeight = 240;
constexpr double kMargin = 60;
constexpr std::array<const char*, 2> kColors = {"#1b6ca8", "#d1642e"};

std::string Text(double x, double y, const std::string& text, const char* anchor = "middle") {
  return fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" font-size=\"12\">{}</text>\n", x, y,
      anchor, text);
}

std::string Line(double x1, double y1, double x2, double y2) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#333\"/>\n", x1, y1,
      x2, y2);
}

// Bars of median wall time; a line from the least to the most.
std::string WallPanel(const CompareReport& report) {
  double top = 0;
  for (const CompareMode& mode : report.modes) top = std::max(top, WallTimesOf(mode).most_s);
  const double base = kMargin + kPanelHeight;
  const auto y_of = [&](double seconds) { return base - seconds / top * kPanelHeight; };
  std::string svg = Text(kMargin + kPanelWidth / 2, kMargin / 2, "wall time, s");
  for (size_t m = 0; m < 2; ++m) {
    const WallTimes wall = WallTimesOf(report.modes[m]);
    const double x = kMargin + kPanelWidth * (m == 0 ? 0.3 : 0.7);
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"80\" height=\"{:.1f}\" fill=\"{}\"/>\n", x - 40,
        y_of(wall.median_s), base - y_of(wall.median_s), kColors[m]);
    svg += Line(x, y_of(wall.most_s), x, y_of(wall.least_s));
    svg += Line(x - 8, y_of(wall.most_s), x + 8, y_of(wall.most_s));
    svg += Line(x - 8, y_of(wall.least_s), x + 8, y_of(wall.least_s));
    svg +=
        Text(x, base + 18, fmt::format("{} {:.3f}", ModeName(report.modes[m].mode), wall.median_s));
    svg += Text(x, base + 34, report.modes[m].attn_impl);
  }
  return svg + Line(kMargin, base, kMargin + kPanelWidth, base);
}

// Milliseconds of a decode step against its sequences (powers of two), both modes and the floor.
std::string StepPanel(const CompareReport& report) {
  std::array<std::vector<StepTimes>, 2> times;
  double top = 0;
  int most_doublings = 1;
  for (size_t m = 0; m < 2; ++m) {
    times[m] = DecodeStepTimes(report.modes[m], report.floor);
    for (const StepTimes& t : times[m]) {
      top = std::max({top, t.mean_ms, t.floor_ms});
      most_doublings = std::max(most_doublings, std::countr_zero(static_cast<uint32_t>(t.up_to)));
    }
  }
  const double left = 3 * kMargin + kPanelWidth;
  const double base = kMargin + kPanelHeight;
  const auto point = [&](int32_t up_to, double ms) {
    const int doublings = std::countr_zero(static_cast<uint32_t>(up_to));
    return fmt::format("{:.1f},{:.1f} ", left + kPanelWidth * doublings / most_doublings,
                       base - ms / top * kPanelHeight);
  };
  const auto curve = [](const std::string& points, const char* color, const char* dashes) {
    return fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" "
        "stroke-dasharray=\"{}\"/>\n",
        points, color, dashes);
  };
  std::string svg =
      Text(left + kPanelWidth / 2, kMargin / 2, "a decode step, ms, by sequences (dashed: floor)");
  std::string floor_points;
  for (size_t m = 0; m < 2; ++m) {
    std::string points;
    for (const StepTimes& t : times[m]) {
      points += point(t.up_to, t.mean_ms);
      if (m > 0) continue;
      floor_points += point(t.up_to, t.floor_ms);
      svg += Text(
          left + kPanelWidth * std::countr_zero(static_cast<uint32_t>(t.up_to)) / most_doublings,
          base + 18, fmt::format("{}", t.up_to));
    }
    svg += curve(points, kColors[m], "none");
  }
  svg += curve(floor_points, "#333", "5,4");
  svg += Text(left - 6, kMargin + 4, fmt::format("{:.2f}", top), "end");
  svg += Text(left - 6, base, "0", "end");
  return svg + Line(left, kMargin, left, base) + Line(left, base, left + kPanelWidth, base);
}

}  // namespace

double StepFloor::Milliseconds(const StepStats& step) const {
  const double weights = 2.0 * static_cast<double>(weight_words);
  const double kv = static_cast<double>(kv_bytes_per_token * block_size * step.kv_blocks_used);
  const double macs = static_cast<double>(weight_words) * step.num_decode_tokens;
  return 1e3 * std::max((weights + kv) / bytes_per_s, macs / macs_per_s);
}

WallTimes WallTimesOf(const CompareMode& mode) {
  std::vector<double> seconds;
  for (const CompareRun& run : mode.runs) seconds.push_back(run.wall_s);
  std::ranges::sort(seconds);
  const size_t n = seconds.size();
  return {.median_s = (seconds[(n - 1) / 2] + seconds[n / 2]) / 2,
          .least_s = seconds.front(),
          .most_s = seconds.back()};
}

std::vector<StepTimes> DecodeStepTimes(const CompareMode& mode, const StepFloor& floor) {
  std::map<int32_t, StepTimes> by_size;
  for (const CompareRun& run : mode.runs) {
    for (const StepStats& step : run.steps) {
      if (step.num_prefill_tokens > 0 || step.num_decode_tokens == 0) continue;
      const auto up_to =
          static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(step.num_decode_tokens)));
      StepTimes& times = by_size[up_to];
      times.up_to = up_to;
      ++times.count;
      times.mean_ms += step.milliseconds;
      times.floor_ms += floor.Milliseconds(step);
    }
  }
  std::vector<StepTimes> all;
  for (auto& [up_to, times] : by_size) {
    times.mean_ms /= static_cast<double>(times.count);
    times.floor_ms /= static_cast<double>(times.count);
    all.push_back(times);
  }
  return all;
}

std::string BatchDifference(const CompareReport& report) {
  const CompareRun& first = report.modes[0].runs[0];
  for (const CompareMode& mode : report.modes) {
    for (size_t i = 0; i < mode.runs.size(); ++i) {
      const std::string difference = DifferenceOf(first, mode.runs[i]);
      if (!difference.empty()) {
        return fmt::format("run {} of mode {}: {}", i + 1, ModeName(mode.mode), difference);
      }
    }
  }
  return "";
}

std::string CompareJson(const CompareReport& report) {
  const std::string difference = BatchDifference(report);
  const ordered_json json = {
      {"model", report.model},
      {"device", report.device},
      {"workload", report.workload},
      {"invariant_over_variant", Ratio(report)},
      {"same_batches", difference.empty()},
      {"batch_difference", difference},
      {"floor",
       {{"weight_words", report.floor.weight_words},
        {"kv_bytes_per_token", report.floor.kv_bytes_per_token},
        {"bytes_per_s", report.floor.bytes_per_s},
        {"macs_per_s", report.floor.macs_per_s}}},
      {"modes",
       {ModeJson(report.modes[0], report.floor), ModeJson(report.modes[1], report.floor)}}};
  // The model's path need not be UTF-8.
  return json.dump(1, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace);
}

std::string CompareMarkdown(const CompareReport& report, const std::string& picture_file) {
  std::string text = fmt::format(
      "# Invariant and variant\n\n{}\n\nDevice: {}\n\nWorkload: {}\n\n![wall time and decode "
      "steps]({})\n\n| mode | attention | wall s, median | least - most | output tokens/s | steps "
      "|\n|---|---|---|---|---|---|\n",
      report.model, report.device, report.workload, picture_file);
  for (const CompareMode& mode : report.modes) {
    const WallTimes wall = WallTimesOf(mode);
    text += fmt::format(
        "| {} | {} | {:.3f} | {:.3f} - {:.3f} | {:.1f} | {} |\n", ModeName(mode.mode),
        mode.attn_impl, wall.median_s, wall.least_s, wall.most_s,
        static_cast<double>(mode.runs[0].output_tokens) / wall.median_s, mode.runs[0].steps.size());
  }
  const std::string difference = BatchDifference(report);
  text += fmt::format("\nInvariant / variant: {:.4f} (medians of {} runs, interleaved). {}.\n\n",
                      Ratio(report), report.modes[0].runs.size(),
                      difference.empty() ? "Both modes ran the same batches in every run"
                                         : "The batches differ: " + difference);
  const CallCounts& calls = report.modes[1].calls;
  text += "Calls of mode variant on schedules that are not canonical:\n\n";
  text += FreeText("linear", calls.linear, calls.free_linear);
  text += FreeText("attention", calls.attention, calls.free_attention);
  text += fmt::format(
      "\n## Decode steps\n\nThe floor is the larger of all bytes (weights, KV blocks in use) at "
      "{:.1f} GB/s and all multiply-adds of the linears at {:.2f} TMAC/s, both as measured here "
      "before the runs.\n\n{}",
      report.floor.bytes_per_s / 1e9, report.floor.macs_per_s / 1e12, StepTable(report));
  if (report.modes[1].linear_choices.empty()) return text;
  text += "\n## Linears of mode variant, as timed at the start\n\n```\n";
  for (const std::string& line : report.modes[1].linear_choices) text += line + "\n";
  return text + "```\n";
}

std::string CompareSvg(const CompareReport& report) {
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0f}\" height=\"{:.0f}\" "
             "font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" "
             "fill=\"white\"/>\n",
             4 * kMargin + 2 * kPanelWidth, 2 * kMargin + kPanelHeight) +
         WallPanel(report) + StepPanel(report) + "</svg>\n";
}

}  // namespace vexact
