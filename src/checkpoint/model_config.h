// ModelConfig: what a checkpoint says about its model, in one form for config.json and GGUF.
#ifndef VEXACT_CHECKPOINT_MODEL_CONFIG_H_
#define VEXACT_CHECKPOINT_MODEL_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace vexact {

enum class ModelFamily {
  kLlama,     // Llama 2 and 3, SmolLM2
  kQwen2,     // Qwen2, Qwen2.5: biases on q, k and v
  kQwen3,     // RMS norms on the heads of q and k
  kQwen3Moe,  // Qwen3 with routed experts in place of every MLP
};

// "llama", "qwen2", "qwen3", "qwen3_moe": config.json's model_type.
std::string_view ModelFamilyName(ModelFamily family);

enum class RopeScaling { kNone, kLinear, kLlama3 };

// Rotary position embedding (docs/numerics.md, rope). JSON numbers are the nearest doubles, GGUF
// numbers the file's fp32 words made double.
struct RopeConfig {
  double theta = 10000.0;
  int32_t rotary_dim = 0;  // equal to head_dim in every family here
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;                            // kLinear, kLlama3
  double low_freq_factor = 0.0;                   // kLlama3
  double high_freq_factor = 0.0;                  // kLlama3
  double original_max_position_embeddings = 0.0;  // kLlama3
};

// All zero unless the family is kQwen3Moe.
struct MoeConfig {
  int32_t num_experts = 0;
  int32_t num_experts_per_tok = 0;
  int32_t moe_intermediate_size = 0;
  bool norm_topk_prob = false;
};

// What generation_config.json says of sampling; empty where it is silent (always, for GGUF).
struct GenerationDefaults {
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<int32_t> top_k;
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
};

// Invariants, kept by the readers: every size is at least 1 and within kMax... of
// config_limits.h, num_heads is a multiple of num_kv_heads, head_dim is even, ids are in
// [0, vocab_size).
struct ModelConfig {
  ModelFamily family = ModelFamily::kLlama;
  int32_t hidden_size = 0;
  int32_t num_layers = 0;
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t intermediate_size = 0;  // of the dense MLP; 0 for kQwen3Moe where the file is silent
  int32_t vocab_size = 0;
  int32_t max_position_embeddings = 0;
  int32_t sliding_window = 0;  // positions that a row sees, its own among them; 0: all up to it
  float rms_norm_eps = 0.0f;
  RopeConfig rope;
  bool tie_word_embeddings = false;
  bool attention_bias = false;  // on q, k and v; never on o
  MoeConfig moe;
  std::vector<int32_t> stop_token_ids;  // ascending, distinct; the tokenizer's are added elsewhere
  std::optional<int32_t> bos_token_id;
  GenerationDefaults generation;
};

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_MODEL_CONFIG_H_
