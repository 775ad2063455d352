// The model families: for each, how a layer is read and how it runs. One file a family.
#ifndef VEXACT_MODEL_FAMILIES_H_
#define VEXACT_MODEL_FAMILIES_H_

#include "model/decoder.h"
#include "model/weights.h"

namespace vexact {

struct Family {
  Result<LayerWeights> (*load_layer)(const LayerLoader& load, const ModelConfig& config);
  void (*run_layer)(const LayerWeights& layer, const DecoderStep& step);
};

extern const Family kLlamaFamily;     // llama.cc
extern const Family kQwen2Family;     // qwen2.cc
extern const Family kQwen3Family;     // qwen3.cc
extern const Family kQwen3MoeFamily;  // qwen3_moe.cc

// What every family has under the same names: both norms, q, k, v and o; and the dense MLP.
Status LoadAttention(const LayerLoader& load, LayerWeights* layer);
Status LoadDenseMlp(const LayerLoader& load, LayerWeights* layer);

}  // namespace vexact

#endif  // VEXACT_MODEL_FAMILIES_H_
