// Llama (Touvron et al., 2023; Dubey et al., 2024) and models of its shape, such as SmolLM2:
// pre-norm, grouped-query attention with rotary positions, SwiGLU, no biases.
#include "model/families.h"

namespace vexact {

Status LoadAttention(const LayerLoader& load, LayerWeights* layer) {
  VX_RETURN_IF_ERROR(load.Vector({"input_layernorm.weight"}, &layer->input_norm));
  VX_RETURN_IF_ERROR(
      load.Linear({"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"},
                  &layer->qkv));
  VX_RETURN_IF_ERROR(load.Linear({"self_attn.o_proj.weight"}, &layer->o));
  return load.Vector({"post_attention_layernorm.weight"}, &layer->post_attention_norm);
}

Status LoadDenseMlp(const LayerLoader& load, LayerWeights* layer) {
  VX_RETURN_IF_ERROR(load.Linear({"mlp.gate_proj.weight", "mlp.up_proj.weight"}, &layer->gate_up));
  return load.Linear({"mlp.down_proj.weight"}, &layer->down);
}

namespace {

Result<LayerWeights> LoadLayer(const LayerLoader& load, const ModelConfig&) {
  LayerWeights layer;
  VX_RETURN_IF_ERROR(LoadAttention(load, &layer));
  VX_RETURN_IF_ERROR(LoadDenseMlp(load, &layer));
  return layer;
}

void RunLayer(const LayerWeights& layer, const DecoderStep& step) {
  AttentionBlock(layer, step);
  DenseMlpBlock(layer, step);
}

}  // namespace

const Family kLlamaFamily = {LoadLayer, RunLayer};

}  // namespace vexact
