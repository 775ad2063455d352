// Every engine option as a command-line flag, named as vLLM names it.
#ifndef VEXACT_COMMON_ENGINE_FLAGS_H_
#define VEXACT_COMMON_ENGINE_FLAGS_H_

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "engine/engine_config.h"
#include "engine/load_model.h"

namespace vexact {

struct EngineFlags {
  EngineConfig config;
  ModelSource model;
  std::string device = "auto";  // MakeBackend's
  std::string batch_probe;      // file for one JSON line a step; empty: none
};

// --model and its alias --model-path; required.
void AddModelFlag(CLI::App& app, std::string& path);

// The same, --load-format and --dummy-seed: for commands that read weights.
void AddModelSourceFlags(CLI::App& app, ModelSource& source);

// --threads: 0 to kMaxThreads.
CLI::Option* AddThreadsFlag(CLI::App& app, int32_t& threads, const std::string& help);

// The model's and all engine options. What later versions bring is refused by name, as wrong usage.
// `flags` must outlive `app`.
void AddEngineFlags(CLI::App& app, EngineFlags& flags);

// Refuses mode variant for what only holds where bits are promised: `what` is "--receipts" or the
// like. As wrong usage, before anything is loaded.
Status RequireInvariant(const EngineConfig& config, std::string_view what);

// One line of --batch-probe, without line end.
std::string StepStatsJson(const StepStats& stats);

}  // namespace vexact

#endif  // VEXACT_COMMON_ENGINE_FLAGS_H_
