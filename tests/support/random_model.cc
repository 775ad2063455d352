#include "support/random_model.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/expected_tensors.h"
#include "numerics/bf16.h"

namespace vexact {
namespace {

using nlohmann::json;

json ConfigJson(const RandomModelSpec& spec) {
  json config = {{"model_type", std::string(ModelFamilyName(spec.family))},
                 {"hidden_size", spec.hidden_size},
                 {"num_hidden_layers", spec.num_layers},
                 {"num_attention_heads", spec.num_heads},
                 {"num_key_value_heads", spec.num_kv_heads},
                 {"head_dim", spec.head_dim},
                 {"intermediate_size", spec.intermediate_size},
                 {"vocab_size", spec.vocab_size},
                 {"max_position_embeddings", spec.max_positions},
                 {"rms_norm_eps", 1e-6},
                 {"rope_theta", 10000.0},
                 {"hidden_act", "silu"},
                 {"eos_token_id", spec.vocab_size - 1},
                 {"tie_word_embeddings", spec.tie_word_embeddings}};
  if (spec.sliding_window > 0) {
    config["sliding_window"] = spec.sliding_window;
    config["use_sliding_window"] = true;
    config["max_window_layers"] = 0;
  }
  if (spec.family == ModelFamily::kQwen3Moe) {
    config["moe_intermediate_size"] = spec.intermediate_size;
    config["num_experts"] = spec.num_experts;
    config["num_experts_per_tok"] = spec.num_experts_per_tok;
    config["norm_topk_prob"] = true;
  }
  return config;
}

// Norms near 1, biases small, linears of unit gain; lm_head sharper, so that answers differ.
std::vector<bf16> RandomValues(const ExpectedTensor& tensor, std::mt19937_64* random) {
  int64_t count = 1;
  for (const int64_t size : tensor.shape) count *= size;
  const bool is_norm = tensor.name.ends_with("norm.weight");
  const bool is_bias = tensor.name.ends_with(".bias");
  float scale = is_norm ? 0.2f : 0.3f;
  if (tensor.shape.size() == 2) {
    scale = std::sqrt(3.0f / static_cast<float>(tensor.shape[1]));
    if (tensor.name.starts_with("lm_head")) scale *= 3.0f;
    if (tensor.name.starts_with("model.embed")) scale = 1.0f;
  }
  VX_CHECK(tensor.shape.size() == 2 || is_norm || is_bias);
  std::vector<bf16> values;
  values.reserve(count);
  for (int64_t i = 0; i < count; ++i) {
    const float unit = static_cast<float>((*random)() >> 40) * 0x1p-23f - 1.0f;
    values.push_back(Bf16FromFloat((is_norm ? 1.0f : 0.0f) + scale * unit));
  }
  return values;
}

void WriteFile(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  VX_CHECK(file.good(), path.string());
}

std::string Safetensors(const ModelConfig& config, const RandomModelSpec& spec) {
  std::mt19937_64 random(spec.seed);
  json header;
  std::string data;
  const Status status = VisitExpectedTensors(config, [&](const ExpectedTensor& tensor) -> Status {
    std::vector<bf16> values = RandomValues(tensor, &random);
    if (spec.nan_token && tensor.name == "model.embed_tokens.weight") {
      values[static_cast<size_t>(*spec.nan_token) * spec.hidden_size] = bf16{0x7fc0};
    }
    const size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(bf16));
    header[tensor.name] = {
        {"dtype", "BF16"}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
    return {};
  });
  VX_CHECK(status.ok());
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t size = text.size();
  return std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + text + data;
}

// Just what VisitExpectedTensors reads.
ModelConfig ShapesOf(const RandomModelSpec& spec) {
  ModelConfig config;
  config.family = spec.family;
  config.hidden_size = spec.hidden_size;
  config.num_layers = spec.num_layers;
  config.num_heads = spec.num_heads;
  config.num_kv_heads = spec.num_kv_heads;
  config.head_dim = spec.head_dim;
  config.intermediate_size = spec.intermediate_size;
  config.vocab_size = spec.vocab_size;
  config.tie_word_embeddings = spec.tie_word_embeddings;
  config.attention_bias = spec.family == ModelFamily::kQwen2;
  config.moe.num_experts = spec.num_experts;
  config.moe.moe_intermediate_size = spec.intermediate_size;
  return config;
}

}  // namespace

Checkpoint MakeRandomCheckpoint(const RandomModelSpec& spec) {
  std::string name = (std::filesystem::temp_directory_path() / "vexact_model_XXXXXX").string();
  VX_CHECK(mkdtemp(name.data()) != nullptr);
  const std::filesystem::path directory = name;
  WriteFile(directory / "config.json", ConfigJson(spec).dump());
  WriteFile(directory / "model.safetensors", Safetensors(ShapesOf(spec), spec));
  Result<Checkpoint> checkpoint = Checkpoint::Open(directory.string());
  std::filesystem::remove_all(directory);
  return std::move(checkpoint).value();
}

std::shared_ptr<const Model> LoadModelOf(const Checkpoint& checkpoint,
                                         std::shared_ptr<const Backend> backend) {
  return Model::Load(checkpoint, std::move(backend), {}).value();
}

}  // namespace vexact
