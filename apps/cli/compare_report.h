// What `vexact bench compare` found, as JSON, as Markdown and as a picture.
#ifndef VEXACT_CLI_COMPARE_REPORT_H_
#define VEXACT_CLI_COMPARE_REPORT_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "batch/step_stats.h"
#include "kernels/mode.h"
#include "tensor/stream.h"

namespace vexact {

// One run of the workload in one mode.
struct CompareRun {
  double wall_s = 0.0;
  int64_t output_tokens = 0;
  std::vector<StepStats> steps;
};

struct CompareMode {
  Mode mode = Mode::kInvariant;
  std::string attn_impl;
  std::vector<CompareRun> runs;             // in the order of time
  CallCounts calls;                         // of all runs, their warm-ups included
  std::vector<std::string> linear_choices;  // Backend::LinearChoices
};

// What a step has to move and to multiply at least, and how fast this device does that.
struct StepFloor {
  int64_t weight_words = 0;  // bf16 words that a step reads: layers and lm_head
  int64_t kv_bytes_per_token = 0;
  int64_t block_size = 0;    // tokens
  double bytes_per_s = 0.0;  // measured
  double macs_per_s = 0.0;   // measured

  // Of a step that decodes, in milliseconds: the blocks in use hold what it reads of the KV cache.
  double Milliseconds(const StepStats& step) const;
};

struct CompareReport {
  std::string model;
  std::string device;
  std::string workload;
  StepFloor floor;
  std::array<CompareMode, 2> modes;  // invariant, variant
};

struct WallTimes {
  double median_s = 0.0;
  double least_s = 0.0;
  double most_s = 0.0;
};
WallTimes WallTimesOf(const CompareMode& mode);

// Steps without a prompt, by sequences: 1, 2, 3-4, 5-8, ... (`up_to` is the last of a row's range).
struct StepTimes {
  int32_t up_to = 0;
  int64_t count = 0;
  double mean_ms = 0.0;
  double floor_ms = 0.0;  // mean over the same steps
};
std::vector<StepTimes> DecodeStepTimes(const CompareMode& mode, const StepFloor& floor);

// "" if both modes ran the same batches in every run, or the first step that differs.
std::string BatchDifference(const CompareReport& report);

std::string CompareJson(const CompareReport& report);
std::string CompareMarkdown(const CompareReport& report, const std::string& picture_file);
std::string CompareSvg(const CompareReport& report);

}  // namespace vexact

#endif  // VEXACT_CLI_COMPARE_REPORT_H_
