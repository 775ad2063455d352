// Qwen3-MoE (Yang et al., 2025): Qwen3's attention, and routed experts in place of the MLP.
#include <fmt/format.h>

#include "model/families.h"

namespace vexact {
namespace {

Result<LayerWeights> LoadLayer(const LayerLoader& load, const ModelConfig& config) {
  LayerWeights layer;
  VX_RETURN_IF_ERROR(LoadAttention(load, &layer));
  VX_RETURN_IF_ERROR(load.Vector({"self_attn.q_norm.weight"}, &layer.q_norm));
  VX_RETURN_IF_ERROR(load.Vector({"self_attn.k_norm.weight"}, &layer.k_norm));
  VX_RETURN_IF_ERROR(load.Linear({"mlp.gate.weight"}, &layer.router));
  layer.experts.resize(config.moe.num_experts);
  for (int e = 0; e < config.moe.num_experts; ++e) {
    const std::string expert = fmt::format("mlp.experts.{}.", e);
    VX_RETURN_IF_ERROR(load.Linear({expert + "gate_proj.weight", expert + "up_proj.weight"},
                                   &layer.experts[e].gate_up));
    VX_RETURN_IF_ERROR(load.Linear({expert + "down_proj.weight"}, &layer.experts[e].down));
  }
  return layer;
}

void RunLayer(const LayerWeights& layer, const DecoderStep& step) {
  AttentionBlock(layer, step);
  ExpertsBlock(layer, step);
}

}  // namespace

const Family kQwen3MoeFamily = {LoadLayer, RunLayer};

}  // namespace vexact
