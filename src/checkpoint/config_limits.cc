#include "checkpoint/config_limits.h"

#include <algorithm>
#include <cmath>

namespace vexact {

std::string_view ModelFamilyName(ModelFamily family) {
  switch (family) {
    case ModelFamily::kLlama:
      return "llama";
    case ModelFamily::kQwen2:
      return "qwen2";
    case ModelFamily::kQwen3:
      return "qwen3";
    case ModelFamily::kQwen3Moe:
      return "qwen3_moe";
  }
  return "unknown";
}

Status ValidateConfig(const ModelConfig& config, const std::string& file,
                      const ConfigFieldNames& names) {
  if (config.num_heads % config.num_kv_heads != 0) {
    return InvalidArgument("{}: \"{}\": expected a divisor of {} = {}, found {}", file,
                           names.num_kv_heads, names.num_heads, config.num_heads,
                           config.num_kv_heads);
  }
  if (config.head_dim % 2 != 0) {
    return InvalidArgument("{}: \"{}\": expected an even number, found {}", file, names.head_dim,
                           config.head_dim);
  }
  if (config.family == ModelFamily::kQwen3Moe &&
      config.moe.num_experts_per_tok > config.moe.num_experts) {
    return InvalidArgument("{}: \"{}\": expected at most the number of experts, {}, found {}", file,
                           names.num_experts_per_tok, config.moe.num_experts,
                           config.moe.num_experts_per_tok);
  }
  if (!(config.rms_norm_eps > 0.0f) || !(config.rms_norm_eps < 1.0f)) {
    return InvalidArgument("{}: \"{}\": expected a number above 0 and below 1, found {}", file,
                           names.rms_norm_eps, config.rms_norm_eps);
  }
  return {};
}

void AddStopTokenId(int32_t id, ModelConfig& config) {
  std::vector<int32_t>& ids = config.stop_token_ids;
  const auto at = std::lower_bound(ids.begin(), ids.end(), id);
  if (at == ids.end() || *at != id) ids.insert(at, id);
}

}  // namespace vexact
