#include "checkpoint/gguf_config.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "checkpoint/config_limits.h"

namespace vexact {
namespace {

struct Architecture {
  std::string_view name;
  ModelFamily family;
};

constexpr Architecture kArchitectures[] = {
    {"llama", ModelFamily::kLlama},
    {"qwen2", ModelFamily::kQwen2},
    {"qwen3", ModelFamily::kQwen3},
    {"qwen3moe", ModelFamily::kQwen3Moe},
};

// "<architecture>.<one of these>" is read below, or (the last line) does not touch the arithmetic.
constexpr std::string_view kKnownKeys[] = {
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.causal",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
    "expert_count",
    "expert_used_count",
    "expert_feed_forward_length",
    "expert_shared_count",
    "expert_weights_norm",
    "tensor_data_layout",
    "use_parallel_residual",
};

// Reads "<architecture>.*" keys.
class ArchitectureKeys {
 public:
  ArchitectureKeys(const GgufMetadata& metadata, std::string_view architecture)
      : metadata_(metadata), prefix_(std::string(architecture) + ".") {}

  std::string Key(std::string_view name) const { return prefix_ + std::string(name); }
  const GgufMetadata& metadata() const { return metadata_; }

  Result<int32_t> Integer(std::string_view name, IntegerRange range) const {
    VX_ASSIGN_OR_RETURN(const int64_t value, metadata_.Integer(Key(name), range));
    return static_cast<int32_t>(value);
  }
  Result<int32_t> IntegerOr(std::string_view name, IntegerRange range, int64_t absent) const {
    VX_ASSIGN_OR_RETURN(const std::optional<int64_t> value,
                        metadata_.OptionalInteger(Key(name), range));
    return static_cast<int32_t>(value.value_or(absent));
  }
  Error Expected(std::string_view name, std::string_view expected) const {
    return metadata_.Expected(Key(name), expected);
  }
  Error Refused(std::string_view name, std::string_view expected) const {
    return metadata_.Refused(Key(name), expected);
  }

  Status RefuseUnknown() const {
    for (const auto& [key, value] : metadata_.values()) {
      if (!key.starts_with(prefix_)) continue;
      const std::string_view name = std::string_view(key).substr(prefix_.size());
      if (std::find(std::begin(kKnownKeys), std::end(kKnownKeys), name) == std::end(kKnownKeys)) {
        return metadata_.Refused(key, "no key of this name");
      }
    }
    return {};
  }

 private:
  const GgufMetadata& metadata_;
  std::string prefix_;
};

// Features that these families do not have here.
Status RefuseFeatures(const ArchitectureKeys& keys) {
  VX_RETURN_IF_ERROR(keys.RefuseUnknown());
  VX_ASSIGN_OR_RETURN(const std::optional<bool> causal,
                      keys.metadata().OptionalBool(keys.Key("attention.causal")));
  if (causal && !*causal) return keys.Refused("attention.causal", "true");
  VX_ASSIGN_OR_RETURN(const std::optional<bool> parallel,
                      keys.metadata().OptionalBool(keys.Key("use_parallel_residual")));
  if (parallel && *parallel) return keys.Refused("use_parallel_residual", "false");
  VX_ASSIGN_OR_RETURN(const int32_t shared,
                      keys.IntegerOr("expert_shared_count", {0, kMaxExperts}, 0));
  if (shared != 0) return keys.Refused("expert_shared_count", "0");
  return {};
}

Status ReadAttention(const ArchitectureKeys& keys, ModelConfig& config) {
  VX_ASSIGN_OR_RETURN(config.sliding_window,
                      keys.IntegerOr("attention.sliding_window", {0, kMaxPositions}, 0));
  VX_ASSIGN_OR_RETURN(config.num_heads, keys.Integer("attention.head_count", {1, kMaxHeads}));
  VX_ASSIGN_OR_RETURN(config.num_kv_heads,
                      keys.IntegerOr("attention.head_count_kv", {1, kMaxHeads}, config.num_heads));
  VX_ASSIGN_OR_RETURN(config.head_dim, keys.IntegerOr("attention.key_length", {2, kMaxHeadDim}, 0));
  if (config.head_dim == 0) {
    if (config.hidden_size % config.num_heads != 0 ||
        config.hidden_size / config.num_heads > kMaxHeadDim) {
      return keys.Expected("attention.key_length",
                           "a value, because embedding_length / head_count is not a head size");
    }
    config.head_dim = config.hidden_size / config.num_heads;
  }
  VX_ASSIGN_OR_RETURN(const int32_t value_length,
                      keys.IntegerOr("attention.value_length", {2, kMaxHeadDim}, config.head_dim));
  if (value_length != config.head_dim) {
    return keys.Refused("attention.value_length",
                        fmt::format("the key length, {}", config.head_dim));
  }
  const std::string eps_key = keys.Key("attention.layer_norm_rms_epsilon");
  VX_ASSIGN_OR_RETURN(const std::optional<float> eps, keys.metadata().OptionalFloat(eps_key));
  if (!eps) return keys.metadata().Expected(eps_key, "a float32");
  config.rms_norm_eps = *eps;
  return {};
}

Status ReadRopeScaling(const ArchitectureKeys& keys, RopeConfig& rope) {
  const GgufMetadata& metadata = keys.metadata();
  VX_ASSIGN_OR_RETURN(const std::optional<std::string> type,
                      metadata.OptionalString(keys.Key("rope.scaling.type")));
  VX_ASSIGN_OR_RETURN(const std::optional<float> factor,
                      metadata.OptionalFloat(keys.Key("rope.scaling.factor")));
  VX_ASSIGN_OR_RETURN(const std::optional<float> scale_linear,
                      metadata.OptionalFloat(keys.Key("rope.scale_linear")));
  if (type && *type != "none" && *type != "linear") {
    return keys.Refused("rope.scaling.type", "\"none\" or \"linear\"");
  }
  if (type && *type == "none") return {};
  if (factor && scale_linear && *factor != *scale_linear) {
    return keys.Expected("rope.scale_linear", "the same number as rope.scaling.factor");
  }
  // llama.cpp reads a factor without a type as linear, and a factor of 0 as none.
  const float linear = factor ? *factor : scale_linear.value_or(0.0f);
  if (linear < 0.0f || (type && linear == 0.0f)) {
    return keys.Expected("rope.scaling.factor", "a number above 0");
  }
  if (linear == 0.0f || linear == 1.0f) return {};
  rope.scaling = RopeScaling::kLinear;
  rope.factor = linear;
  return {};
}

Status ReadRope(const ArchitectureKeys& keys, ModelConfig& config) {
  VX_ASSIGN_OR_RETURN(config.rope.rotary_dim,
                      keys.IntegerOr("rope.dimension_count", {2, kMaxHeadDim}, config.head_dim));
  if (config.rope.rotary_dim != config.head_dim) {
    return keys.Refused("rope.dimension_count", fmt::format("the head size, {}", config.head_dim));
  }
  VX_ASSIGN_OR_RETURN(const std::optional<float> base,
                      keys.metadata().OptionalFloat(keys.Key("rope.freq_base")));
  config.rope.theta = base.value_or(10000.0f);
  if (!(config.rope.theta > 0.0)) return keys.Expected("rope.freq_base", "a number above 0");
  return ReadRopeScaling(keys, config.rope);
}

Status ReadMlp(const ArchitectureKeys& keys, ModelConfig& config) {
  VX_ASSIGN_OR_RETURN(const int32_t experts, keys.IntegerOr("expert_count", {0, kMaxExperts}, 0));
  if (config.family != ModelFamily::kQwen3Moe) {
    if (experts != 0) return keys.Refused("expert_count", "0 for this architecture");
    VX_ASSIGN_OR_RETURN(config.intermediate_size,
                        keys.Integer("feed_forward_length", {1, kMaxIntermediateSize}));
    return {};
  }
  if (experts == 0) return keys.Expected("expert_count", "a number of experts");
  config.moe.num_experts = experts;
  VX_ASSIGN_OR_RETURN(config.moe.num_experts_per_tok,
                      keys.Integer("expert_used_count", {1, kMaxExperts}));
  VX_ASSIGN_OR_RETURN(config.moe.moe_intermediate_size,
                      keys.Integer("expert_feed_forward_length", {1, kMaxIntermediateSize}));
  VX_ASSIGN_OR_RETURN(config.intermediate_size,
                      keys.IntegerOr("feed_forward_length", {0, kMaxIntermediateSize}, 0));
  // The format's writer drops norm_topk_prob: qwen3moe is defined with normalised weights.
  VX_ASSIGN_OR_RETURN(const std::optional<bool> norm,
                      keys.metadata().OptionalBool(keys.Key("expert_weights_norm")));
  config.moe.norm_topk_prob = norm.value_or(true);
  return {};
}

const GgufTensor* FindTensor(const GgufFile& gguf, std::string_view name) {
  const auto it = std::find_if(gguf.tensors.begin(), gguf.tensors.end(),
                               [name](const GgufTensor& tensor) { return tensor.name == name; });
  return it == gguf.tensors.end() ? nullptr : &*it;
}

// The vocabulary's size is the embedding's row count; a stated one must agree.
Status ReadVocabulary(const GgufFile& gguf, const ArchitectureKeys& keys, ModelConfig& config) {
  const GgufTensor* embedding = FindTensor(gguf, "token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2 || embedding->shape[0] > kMaxVocabSize) {
    return InvalidArgument("{}: tensor \"token_embd.weight\": expected [1 to {}, {}], found {}",
                           gguf.metadata.file(), kMaxVocabSize, config.hidden_size,
                           embedding == nullptr
                               ? "no such tensor"
                               : fmt::format("[{}]", fmt::join(embedding->shape, ", ")));
  }
  config.vocab_size = static_cast<int32_t>(embedding->shape[0]);
  VX_ASSIGN_OR_RETURN(const int32_t stated,
                      keys.IntegerOr("vocab_size", {1, kMaxVocabSize}, config.vocab_size));
  if (stated != config.vocab_size) {
    return keys.Expected("vocab_size",
                         fmt::format("the rows of token_embd.weight, {}", config.vocab_size));
  }
  config.tie_word_embeddings = FindTensor(gguf, "output.weight") == nullptr;
  return {};
}

Status ReadTokenIds(const GgufMetadata& metadata, ModelConfig& config) {
  const IntegerRange ids = {0, config.vocab_size - 1};
  for (const std::string_view key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                     "tokenizer.ggml.eom_token_id"}) {
    VX_ASSIGN_OR_RETURN(const std::optional<int64_t> id, metadata.OptionalInteger(key, ids));
    if (id) AddStopTokenId(static_cast<int32_t>(*id), config);
  }
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> bos,
                      metadata.OptionalInteger("tokenizer.ggml.bos_token_id", ids));
  if (bos) config.bos_token_id = static_cast<int32_t>(*bos);
  return {};
}

Result<Architecture> ReadArchitecture(const GgufMetadata& metadata) {
  constexpr std::string_view kKey = "general.architecture";
  VX_ASSIGN_OR_RETURN(const std::optional<std::string> name, metadata.OptionalString(kKey));
  for (const Architecture& architecture : kArchitectures) {
    if (name && *name == architecture.name) return architecture;
  }
  return metadata.Refused(kKey, "\"llama\", \"qwen2\", \"qwen3\" or \"qwen3moe\"");
}

Status ReadTokenLists(const GgufMetadata& metadata, int32_t vocab_size, GgufTokenizer& tokenizer) {
  VX_ASSIGN_OR_RETURN(tokenizer.tokens, metadata.Strings("tokenizer.ggml.tokens"));
  VX_ASSIGN_OR_RETURN(tokenizer.merges, metadata.Strings("tokenizer.ggml.merges"));
  VX_ASSIGN_OR_RETURN(tokenizer.token_types, metadata.Integers("tokenizer.ggml.token_type"));
  VX_ASSIGN_OR_RETURN(tokenizer.scores, metadata.Floats("tokenizer.ggml.scores"));
  const size_t num_tokens = tokenizer.tokens.size();
  if (num_tokens > static_cast<size_t>(vocab_size)) {
    return metadata.Expected("tokenizer.ggml.tokens",
                             fmt::format("at most vocab_size = {} tokens", vocab_size));
  }
  const std::string one_a_token = fmt::format("one value for each of {} tokens", num_tokens);
  if (!tokenizer.token_types.empty() && tokenizer.token_types.size() != num_tokens) {
    return metadata.Expected("tokenizer.ggml.token_type", one_a_token);
  }
  if (!tokenizer.scores.empty() && tokenizer.scores.size() != num_tokens) {
    return metadata.Expected("tokenizer.ggml.scores", one_a_token);
  }
  return {};
}

}  // namespace

Result<ModelConfig> ReadGgufConfig(const GgufFile& gguf) {
  const GgufMetadata& metadata = gguf.metadata;
  VX_ASSIGN_OR_RETURN(const Architecture architecture, ReadArchitecture(metadata));
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> splits,
                      metadata.OptionalInteger("split.count", {0, INT32_MAX}));
  if (splits.value_or(0) > 1) return metadata.Refused("split.count", "one file");
  const ArchitectureKeys keys(metadata, architecture.name);
  VX_RETURN_IF_ERROR(RefuseFeatures(keys));
  ModelConfig config;
  config.family = architecture.family;
  config.attention_bias = architecture.family == ModelFamily::kQwen2;
  VX_ASSIGN_OR_RETURN(config.hidden_size, keys.Integer("embedding_length", {1, kMaxHiddenSize}));
  VX_ASSIGN_OR_RETURN(config.num_layers, keys.Integer("block_count", {1, kMaxLayers}));
  VX_ASSIGN_OR_RETURN(config.max_position_embeddings,
                      keys.Integer("context_length", {1, kMaxPositions}));
  VX_RETURN_IF_ERROR(ReadAttention(keys, config));
  VX_RETURN_IF_ERROR(ReadRope(keys, config));
  VX_RETURN_IF_ERROR(ReadMlp(keys, config));
  VX_RETURN_IF_ERROR(ReadVocabulary(gguf, keys, config));
  VX_RETURN_IF_ERROR(ReadTokenIds(metadata, config));
  VX_RETURN_IF_ERROR(
      ValidateConfig(config, metadata.file(),
                     {.num_heads = keys.Key("attention.head_count"),
                      .num_kv_heads = keys.Key("attention.head_count_kv"),
                      .head_dim = keys.Key("attention.key_length"),
                      .num_experts_per_tok = keys.Key("expert_used_count"),
                      .rms_norm_eps = keys.Key("attention.layer_norm_rms_epsilon")}));
  return config;
}

Result<GgufTokenizer> ReadGgufTokenizer(const GgufMetadata& metadata, int32_t vocab_size) {
  GgufTokenizer tokenizer;
  const std::pair<std::string_view, std::string*> texts[] = {
      {"tokenizer.ggml.model", &tokenizer.model},
      {"tokenizer.ggml.pre", &tokenizer.pre},
      {"tokenizer.chat_template", &tokenizer.chat_template},
  };
  for (const auto& [key, to] : texts) {
    VX_ASSIGN_OR_RETURN(std::optional<std::string> value, metadata.OptionalString(key));
    if (value) *to = *std::move(value);
  }
  VX_RETURN_IF_ERROR(ReadTokenLists(metadata, vocab_size, tokenizer));
  const std::pair<std::string_view, std::optional<int32_t>*> ids[] = {
      {"tokenizer.ggml.bos_token_id", &tokenizer.bos_token_id},
      {"tokenizer.ggml.eos_token_id", &tokenizer.eos_token_id},
      {"tokenizer.ggml.eot_token_id", &tokenizer.eot_token_id},
      {"tokenizer.ggml.eom_token_id", &tokenizer.eom_token_id},
      {"tokenizer.ggml.unknown_token_id", &tokenizer.unknown_token_id},
  };
  for (const auto& [key, to] : ids) {
    VX_ASSIGN_OR_RETURN(const std::optional<int64_t> id,
                        metadata.OptionalInteger(key, {0, vocab_size - 1}));
    if (id) *to = static_cast<int32_t>(*id);
  }
  const std::pair<std::string_view, std::optional<bool>*> flags[] = {
      {"tokenizer.ggml.add_bos_token", &tokenizer.add_bos_token},
      {"tokenizer.ggml.add_eos_token", &tokenizer.add_eos_token},
      {"tokenizer.ggml.add_space_prefix", &tokenizer.add_space_prefix},
  };
  for (const auto& [key, to] : flags) {
    VX_ASSIGN_OR_RETURN(*to, metadata.OptionalBool(key));
  }
  return tokenizer;
}

}  // namespace vexact
