#include "checkpoint/hf_config.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "checkpoint/config_limits.h"
#include "checkpoint/json_fields.h"
#include "checkpoint/mapped_file.h"

namespace vexact {
namespace {

using nlohmann::json;

constexpr size_t kMaxConfigBytes = 16 << 20;

Result<int32_t> Size(const JsonFields& fields, std::string_view key, int64_t max) {
  VX_ASSIGN_OR_RETURN(const int64_t value, fields.Integer(key, {1, max}));
  return static_cast<int32_t>(value);
}

Result<ModelFamily> ReadFamily(const JsonFields& fields) {
  VX_ASSIGN_OR_RETURN(const std::optional<std::string> type, fields.OptionalString("model_type"));
  for (const ModelFamily family :
       {ModelFamily::kLlama, ModelFamily::kQwen2, ModelFamily::kQwen3, ModelFamily::kQwen3Moe}) {
    if (type && *type == ModelFamilyName(family)) return family;
  }
  return fields.Refused("model_type", "\"llama\", \"qwen2\", \"qwen3\" or \"qwen3_moe\"");
}

Status CheckArchitectures(const JsonFields& fields, ModelFamily family) {
  const json* value = fields.Find("architectures");
  if (value == nullptr) return {};
  const std::pair<ModelFamily, std::string_view> names[] = {
      {ModelFamily::kLlama, "LlamaForCausalLM"},
      {ModelFamily::kQwen2, "Qwen2ForCausalLM"},
      {ModelFamily::kQwen3, "Qwen3ForCausalLM"},
      {ModelFamily::kQwen3Moe, "Qwen3MoeForCausalLM"},
  };
  for (const auto& [candidate, name] : names) {
    if (candidate == family && *value != json::array({std::string(name)})) {
      return fields.Refused("architectures", fmt::format("[\"{}\"]", name));
    }
  }
  return {};
}

// The window of every layer, or of none.
Status ReadSlidingWindow(const JsonFields& fields, ModelConfig& config) {
  // Qwen configs carry an inactive sliding_window beside use_sliding_window: false, their default.
  const bool is_qwen = config.family != ModelFamily::kLlama;
  VX_ASSIGN_OR_RETURN(const bool use, fields.BoolOr("use_sliding_window", !is_qwen));
  if (use) {
    VX_ASSIGN_OR_RETURN(const std::optional<int64_t> window,
                        fields.OptionalInteger("sliding_window", {1, kMaxPositions}));
    if (!window && is_qwen) return fields.Expected("sliding_window", "an integer");
    config.sliding_window = static_cast<int32_t>(window.value_or(0));
  }
  if (config.sliding_window > 0 && is_qwen) {
    constexpr int64_t kDefault = 28;  // of transformers: layers before it have no window
    VX_ASSIGN_OR_RETURN(const std::optional<int64_t> first,
                        fields.OptionalInteger("max_window_layers", {0, kMaxLayers}));
    if (first.value_or(kDefault) != 0) {
      return fields.Refused("max_window_layers", "0, a window in every layer");
    }
  }
  const json* types = fields.Find("layer_types");
  if (types == nullptr) return {};
  if (!types->is_array()) return fields.Expected("layer_types", "an array");
  const std::string_view wanted =
      config.sliding_window > 0 ? "sliding_attention" : "full_attention";
  for (const json& type : *types) {
    if (type != wanted) {
      return fields.Refused("layer_types", fmt::format("\"{}\" for every layer", wanted));
    }
  }
  return {};
}

// Features that these families do not have here.
Status RefuseFeatures(const JsonFields& fields) {
  for (const std::string_view key : {"quantization_config", "compression_config"}) {
    if (fields.Find(key) != nullptr) {
      return fields.Refused(key, "an unquantised model, bf16, f16 or f32");
    }
  }
  VX_ASSIGN_OR_RETURN(const std::optional<std::string> activation,
                      fields.OptionalString("hidden_act"));
  if (activation.value_or("silu") != "silu") return fields.Refused("hidden_act", "\"silu\"");
  for (const std::string_view key : {"attention_bias", "mlp_bias"}) {
    VX_ASSIGN_OR_RETURN(const bool bias, fields.BoolOr(key, false));
    if (bias) return fields.Refused(key, "false");
  }
  VX_ASSIGN_OR_RETURN(const std::optional<double> partial,
                      fields.OptionalNumber("partial_rotary_factor"));
  if (partial.value_or(1.0) != 1.0) return fields.Refused("partial_rotary_factor", "1");
  return {};
}

Status ReadHeads(const JsonFields& fields, ModelConfig& config) {
  VX_ASSIGN_OR_RETURN(config.num_heads, Size(fields, "num_attention_heads", kMaxHeads));
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> kv_heads,
                      fields.OptionalInteger("num_key_value_heads", {1, kMaxHeads}));
  if (!kv_heads && config.family != ModelFamily::kLlama) {
    return fields.Expected("num_key_value_heads", "an integer");
  }
  config.num_kv_heads = static_cast<int32_t>(kv_heads.value_or(config.num_heads));
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> head_dim,
                      fields.OptionalInteger("head_dim", {2, kMaxHeadDim}));
  if (head_dim) {
    config.head_dim = static_cast<int32_t>(*head_dim);
    return {};
  }
  // Qwen3's default is a number of its own, which released files always state.
  const bool may_derive =
      config.family == ModelFamily::kLlama || config.family == ModelFamily::kQwen2;
  if (!may_derive || config.hidden_size % config.num_heads != 0 ||
      config.hidden_size / config.num_heads > kMaxHeadDim) {
    return fields.Expected("head_dim", fmt::format("an integer from 2 to {}", kMaxHeadDim));
  }
  config.head_dim = config.hidden_size / config.num_heads;
  return {};
}

// The numbers of one scaling type, out of rope_scaling or rope_parameters.
Status ReadRopeScaling(const JsonFields& rope, RopeConfig& config) {
  static constexpr std::string_view kKnownKeys[] = {
      "rope_type",
      "type",
      "rope_theta",
      "factor",
      "low_freq_factor",
      "high_freq_factor",
      "original_max_position_embeddings",
      "partial_rotary_factor",
  };
  for (const auto& item : rope.object().items()) {
    if (std::find(std::begin(kKnownKeys), std::end(kKnownKeys), item.key()) ==
        std::end(kKnownKeys)) {
      return rope.Refused(item.key(), "no field of this name");
    }
  }
  VX_ASSIGN_OR_RETURN(const std::optional<double> partial,
                      rope.OptionalNumber("partial_rotary_factor"));
  if (partial.value_or(1.0) != 1.0) return rope.Refused("partial_rotary_factor", "1");
  VX_ASSIGN_OR_RETURN(std::optional<std::string> type, rope.OptionalString("rope_type"));
  const std::string_view type_key = type ? "rope_type" : "type";
  if (!type) {
    VX_ASSIGN_OR_RETURN(type, rope.OptionalString("type"));
  }
  if (type.value_or("default") == "default") return {};
  if (*type != "linear" && *type != "llama3") {
    return rope.Refused(type_key, "\"default\", \"linear\" or \"llama3\"");
  }
  config.scaling = *type == "linear" ? RopeScaling::kLinear : RopeScaling::kLlama3;
  std::vector<std::pair<std::string_view, double*>> numbers = {{"factor", &config.factor}};
  if (config.scaling == RopeScaling::kLlama3) {
    numbers.emplace_back("low_freq_factor", &config.low_freq_factor);
    numbers.emplace_back("high_freq_factor", &config.high_freq_factor);
    numbers.emplace_back("original_max_position_embeddings",
                         &config.original_max_position_embeddings);
  }
  for (const auto& [key, to] : numbers) {
    VX_ASSIGN_OR_RETURN(*to, rope.Number(key));
    if (!(*to > 0.0)) return rope.Expected(key, "a number above 0");
  }
  if (config.scaling == RopeScaling::kLlama3 &&
      !(config.high_freq_factor > config.low_freq_factor)) {
    return rope.Expected("high_freq_factor",
                         fmt::format("more than low_freq_factor, {}", config.low_freq_factor));
  }
  return {};
}

Status ReadRope(const JsonFields& fields, ModelConfig& config) {
  config.rope.rotary_dim = config.head_dim;
  VX_ASSIGN_OR_RETURN(const std::optional<double> top_theta, fields.OptionalNumber("rope_theta"));
  VX_ASSIGN_OR_RETURN(const auto parameters, fields.OptionalObject("rope_parameters"));
  VX_ASSIGN_OR_RETURN(const auto scaling, fields.OptionalObject("rope_scaling"));
  if (parameters && scaling && parameters->object() != scaling->object()) {
    return fields.Expected("rope_scaling", "null or the same as rope_parameters");
  }
  std::optional<double> theta;
  for (const auto& rope : {parameters, scaling}) {
    if (!rope) continue;
    VX_RETURN_IF_ERROR(ReadRopeScaling(*rope, config.rope));
    VX_ASSIGN_OR_RETURN(theta, rope->OptionalNumber("rope_theta"));
    break;
  }
  if (theta && top_theta && *theta != *top_theta) {
    return fields.Expected("rope_theta", fmt::format("rope_parameters' {}", *theta));
  }
  if (!theta) theta = top_theta;
  // 10000 is the default of every family here in transformers.
  config.rope.theta = theta.value_or(10000.0);
  if (!(config.rope.theta > 0.0)) return fields.Expected("rope_theta", "a number above 0");
  return {};
}

Status ReadMoe(const JsonFields& fields, ModelConfig& config) {
  // transformers 4 writes num_experts, 5 num_local_experts.
  const bool has_local = fields.Find("num_local_experts") != nullptr;
  VX_ASSIGN_OR_RETURN(config.moe.num_experts,
                      Size(fields, has_local ? "num_local_experts" : "num_experts", kMaxExperts));
  if (has_local && fields.Find("num_experts") != nullptr &&
      *fields.Find("num_experts") != *fields.Find("num_local_experts")) {
    return fields.Expected(
        "num_experts", fmt::format("the same as num_local_experts, {}", config.moe.num_experts));
  }
  VX_ASSIGN_OR_RETURN(config.moe.num_experts_per_tok,
                      Size(fields, "num_experts_per_tok", kMaxExperts));
  VX_ASSIGN_OR_RETURN(config.moe.moe_intermediate_size,
                      Size(fields, "moe_intermediate_size", kMaxIntermediateSize));
  VX_ASSIGN_OR_RETURN(config.moe.norm_topk_prob, fields.BoolOr("norm_topk_prob", false));
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> step,
                      fields.OptionalInteger("decoder_sparse_step", {0, INT32_MAX}));
  if (step.value_or(1) != 1) {
    return fields.Refused("decoder_sparse_step", "1, experts in every layer");
  }
  const json* dense_layers = fields.Find("mlp_only_layers");
  if (dense_layers != nullptr && *dense_layers != json::array()) {
    return fields.Refused("mlp_only_layers", "[], experts in every layer");
  }
  return {};
}

Status ReadSizes(const JsonFields& fields, ModelConfig& config) {
  VX_ASSIGN_OR_RETURN(config.hidden_size, Size(fields, "hidden_size", kMaxHiddenSize));
  VX_ASSIGN_OR_RETURN(config.num_layers, Size(fields, "num_hidden_layers", kMaxLayers));
  VX_ASSIGN_OR_RETURN(config.vocab_size, Size(fields, "vocab_size", kMaxVocabSize));
  VX_ASSIGN_OR_RETURN(config.max_position_embeddings,
                      Size(fields, "max_position_embeddings", kMaxPositions));
  VX_ASSIGN_OR_RETURN(const double eps, fields.Number("rms_norm_eps"));
  config.rms_norm_eps = static_cast<float>(eps);  // rounded as Python and torch round it
  if (config.family == ModelFamily::kQwen3Moe) {
    VX_ASSIGN_OR_RETURN(const std::optional<int64_t> dense,
                        fields.OptionalInteger("intermediate_size", {1, kMaxIntermediateSize}));
    config.intermediate_size = static_cast<int32_t>(dense.value_or(0));
    return ReadMoe(fields, config);
  }
  VX_ASSIGN_OR_RETURN(config.intermediate_size,
                      Size(fields, "intermediate_size", kMaxIntermediateSize));
  return {};
}

// eos_token_id: absent, a number or a list of numbers; replaces the stop ids when present.
Status ReadStopTokenIds(const JsonFields& fields, ModelConfig& config) {
  constexpr std::string_view kKey = "eos_token_id";
  const json* value = fields.Find(kKey);
  if (value == nullptr) return {};
  config.stop_token_ids.clear();
  const json list = value->is_array() ? *value : json::array({*value});
  for (const json& id : list) {
    if (!id.is_number_unsigned() ||
        id.get<uint64_t>() >= static_cast<uint64_t>(config.vocab_size)) {
      return fields.Expected(
          kKey, fmt::format("an id, or a list of ids, from 0 to {}", config.vocab_size - 1));
    }
    AddStopTokenId(static_cast<int32_t>(id.get<uint64_t>()), config);
  }
  return {};
}

// A file of the directory, or empty when there is none.
Result<std::shared_ptr<const MappedFile>> OpenConfigFile(const std::string& path) {
  VX_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  if (file->bytes().size() > kMaxConfigBytes) {
    return InvalidArgument("{}: expected at most {} bytes, found {}", path, kMaxConfigBytes,
                           file->bytes().size());
  }
  return file;
}

}  // namespace

Result<ModelConfig> ParseHfConfig(std::string_view text, const std::string& file) {
  VX_ASSIGN_OR_RETURN(const json object, ParseJsonObject(text, file));
  const JsonFields fields(object, file, "");
  ModelConfig config;
  VX_ASSIGN_OR_RETURN(config.family, ReadFamily(fields));
  VX_RETURN_IF_ERROR(CheckArchitectures(fields, config.family));
  VX_RETURN_IF_ERROR(RefuseFeatures(fields));
  VX_RETURN_IF_ERROR(ReadSlidingWindow(fields, config));
  config.attention_bias = config.family == ModelFamily::kQwen2;
  VX_RETURN_IF_ERROR(ReadSizes(fields, config));
  VX_RETURN_IF_ERROR(ReadHeads(fields, config));
  VX_RETURN_IF_ERROR(ReadRope(fields, config));
  VX_ASSIGN_OR_RETURN(config.tie_word_embeddings, fields.BoolOr("tie_word_embeddings", false));
  VX_RETURN_IF_ERROR(ReadStopTokenIds(fields, config));
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> bos,
                      fields.OptionalInteger("bos_token_id", {0, config.vocab_size - 1}));
  if (bos) config.bos_token_id = static_cast<int32_t>(*bos);
  VX_RETURN_IF_ERROR(ValidateConfig(config, file,
                                    {.num_heads = "num_attention_heads",
                                     .num_kv_heads = "num_key_value_heads",
                                     .head_dim = "head_dim",
                                     .num_experts_per_tok = "num_experts_per_tok",
                                     .rms_norm_eps = "rms_norm_eps"}));
  return config;
}

Status ParseGenerationConfig(std::string_view text, const std::string& file, ModelConfig& config) {
  VX_ASSIGN_OR_RETURN(const json object, ParseJsonObject(text, file));
  const JsonFields fields(object, file, "");
  VX_RETURN_IF_ERROR(ReadStopTokenIds(fields, config));
  GenerationDefaults& defaults = config.generation;
  VX_ASSIGN_OR_RETURN(defaults.temperature, fields.OptionalNumber("temperature"));
  VX_ASSIGN_OR_RETURN(defaults.top_p, fields.OptionalNumber("top_p"));
  VX_ASSIGN_OR_RETURN(defaults.min_p, fields.OptionalNumber("min_p"));
  VX_ASSIGN_OR_RETURN(defaults.repetition_penalty, fields.OptionalNumber("repetition_penalty"));
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> top_k,
                      fields.OptionalInteger("top_k", {-1, INT32_MAX}));
  if (top_k) defaults.top_k = static_cast<int32_t>(*top_k);
  return {};
}

Result<ModelConfig> ReadHfConfig(const std::string& directory) {
  const std::string config_path = directory + "/config.json";
  VX_ASSIGN_OR_RETURN(const auto config_file, OpenConfigFile(config_path));
  VX_ASSIGN_OR_RETURN(ModelConfig config, ParseHfConfig(config_file->text(), config_path));
  const std::string generation_path = directory + "/generation_config.json";
  const auto generation_file = OpenConfigFile(generation_path);
  if (generation_file.ok()) {
    VX_RETURN_IF_ERROR(
        ParseGenerationConfig(generation_file.value()->text(), generation_path, config));
  } else if (generation_file.error().code != ErrorCode::kNotFound) {
    return generation_file.error();
  }
  return config;
}

}  // namespace vexact
