// Limits on what a checkpoint may claim, and the checks that both config readers share. They keep
// every later product of sizes inside int64 and stop a 500-byte file from asking for terabytes.
#ifndef VEXACT_CHECKPOINT_CONFIG_LIMITS_H_
#define VEXACT_CHECKPOINT_CONFIG_LIMITS_H_

#include <cstdint>
#include <string>

#include "base/result.h"
#include "checkpoint/model_config.h"

namespace vexact {

inline constexpr int64_t kMaxHiddenSize = 1 << 16;
inline constexpr int64_t kMaxLayers = 1024;
inline constexpr int64_t kMaxHeads = 1024;
inline constexpr int64_t kMaxHeadDim = 1024;
inline constexpr int64_t kMaxIntermediateSize = 1 << 20;
inline constexpr int64_t kMaxVocabSize = 1 << 18;  // docs/numerics.md: the sums of logprob fit
inline constexpr int64_t kMaxPositions = 1 << 24;  // positions are exact in fp32
inline constexpr int64_t kMaxExperts = 1024;

// Names, in the words of the file that was read, of the fields that Validate talks about.
struct ConfigFieldNames {
  std::string num_heads;
  std::string num_kv_heads;
  std::string head_dim;
  std::string num_experts_per_tok;
  std::string rms_norm_eps;
};

// Checks the relations between fields; errors name `file`, the field, expected and found.
Status ValidateConfig(const ModelConfig& config, const std::string& file,
                      const ConfigFieldNames& names);

// Adds a stop id once, keeping the list ascending.
void AddStopTokenId(int32_t id, ModelConfig& config);

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_CONFIG_LIMITS_H_
