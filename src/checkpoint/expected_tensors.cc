#include "checkpoint/expected_tensors.h"

#include <utility>

namespace vexact {
namespace {

using Visit = std::function<Status(const ExpectedTensor&)>;

Status VisitAttention(const ModelConfig& config, const std::string& layer, const Visit& visit) {
  const int64_t hidden = config.hidden_size;
  const int64_t q_rows = int64_t{config.num_heads} * config.head_dim;
  const int64_t kv_rows = int64_t{config.num_kv_heads} * config.head_dim;
  const std::string attention = layer + "self_attn.";
  for (const auto& [projection, rows] :
       {std::pair{"q_proj", q_rows}, {"k_proj", kv_rows}, {"v_proj", kv_rows}}) {
    VX_RETURN_IF_ERROR(visit({attention + projection + ".weight", {rows, hidden}}));
    if (config.attention_bias) {
      VX_RETURN_IF_ERROR(visit({attention + projection + ".bias", {rows}}));
    }
  }
  if (config.family == ModelFamily::kQwen3 || config.family == ModelFamily::kQwen3Moe) {
    VX_RETURN_IF_ERROR(visit({attention + "q_norm.weight", {config.head_dim}}));
    VX_RETURN_IF_ERROR(visit({attention + "k_norm.weight", {config.head_dim}}));
  }
  return visit({attention + "o_proj.weight", {hidden, q_rows}});
}

Status VisitMlp(int64_t hidden, int64_t intermediate, const std::string& mlp, const Visit& visit) {
  VX_RETURN_IF_ERROR(visit({mlp + "gate_proj.weight", {intermediate, hidden}}));
  VX_RETURN_IF_ERROR(visit({mlp + "up_proj.weight", {intermediate, hidden}}));
  return visit({mlp + "down_proj.weight", {hidden, intermediate}});
}

Status VisitLayer(const ModelConfig& config, int32_t index, const Visit& visit) {
  const int64_t hidden = config.hidden_size;
  const std::string layer = fmt::format("model.layers.{}.", index);
  VX_RETURN_IF_ERROR(visit({layer + "input_layernorm.weight", {hidden}}));
  VX_RETURN_IF_ERROR(VisitAttention(config, layer, visit));
  VX_RETURN_IF_ERROR(visit({layer + "post_attention_layernorm.weight", {hidden}}));
  if (config.family != ModelFamily::kQwen3Moe) {
    return VisitMlp(hidden, config.intermediate_size, layer + "mlp.", visit);
  }
  VX_RETURN_IF_ERROR(visit({layer + "mlp.gate.weight", {config.moe.num_experts, hidden}}));
  for (int32_t expert = 0; expert < config.moe.num_experts; ++expert) {
    VX_RETURN_IF_ERROR(VisitMlp(hidden, config.moe.moe_intermediate_size,
                                fmt::format("{}mlp.experts.{}.", layer, expert), visit));
  }
  return {};
}

}  // namespace

Status VisitExpectedTensors(const ModelConfig& config, const Visit& visit) {
  const std::vector<int64_t> embedding_shape = {config.vocab_size, config.hidden_size};
  VX_RETURN_IF_ERROR(visit({"model.embed_tokens.weight", embedding_shape}));
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    VX_RETURN_IF_ERROR(VisitLayer(config, layer, visit));
  }
  VX_RETURN_IF_ERROR(visit({"model.norm.weight", {config.hidden_size}}));
  if (config.tie_word_embeddings) return {};
  return visit({"lm_head.weight", embedding_shape});
}

}  // namespace vexact
