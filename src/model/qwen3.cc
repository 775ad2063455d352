// Qwen3 (Yang et al., 2025): Llama's layer with an RMSNorm on every head of q and k.
#include "model/families.h"

namespace vexact {
namespace {

Result<LayerWeights> LoadLayer(const LayerLoader& load, const ModelConfig&) {
  LayerWeights layer;
  VX_RETURN_IF_ERROR(LoadAttention(load, &layer));
  VX_RETURN_IF_ERROR(load.Vector({"self_attn.q_norm.weight"}, &layer.q_norm));
  VX_RETURN_IF_ERROR(load.Vector({"self_attn.k_norm.weight"}, &layer.k_norm));
  VX_RETURN_IF_ERROR(LoadDenseMlp(load, &layer));
  return layer;
}

void RunLayer(const LayerWeights& layer, const DecoderStep& step) {
  AttentionBlock(layer, step);
  DenseMlpBlock(layer, step);
}

}  // namespace

const Family kQwen3Family = {LoadLayer, RunLayer};

}  // namespace vexact
