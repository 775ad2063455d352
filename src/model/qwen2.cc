// Qwen2 and Qwen2.5 (Yang et al., 2024): Llama's layer with biases on q, k and v.
#include "model/families.h"

namespace vexact {
namespace {

Result<LayerWeights> LoadLayer(const LayerLoader& load, const ModelConfig&) {
  LayerWeights layer;
  VX_RETURN_IF_ERROR(LoadAttention(load, &layer));
  VX_RETURN_IF_ERROR(
      load.Vector({"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"},
                  &layer.qkv_bias));
  VX_RETURN_IF_ERROR(LoadDenseMlp(load, &layer));
  return layer;
}

void RunLayer(const LayerWeights& layer, const DecoderStep& step) {
  AttentionBlock(layer, step);
  DenseMlpBlock(layer, step);
}

}  // namespace

const Family kQwen2Family = {LoadLayer, RunLayer};

}  // namespace vexact
