// Tiny models with random weights, made by a seed.
#ifndef VEXACT_SUPPORT_RANDOM_MODEL_H_
#define VEXACT_SUPPORT_RANDOM_MODEL_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "checkpoint/checkpoint.h"
#include "model/model.h"

namespace vexact {

struct RandomModelSpec {
  ModelFamily family = ModelFamily::kLlama;
  int32_t hidden_size = 32;
  int32_t num_layers = 2;
  int32_t num_heads = 4;
  int32_t num_kv_heads = 2;
  int32_t head_dim = 16;
  int32_t intermediate_size = 48;  // of an expert, if the family has them
  int32_t vocab_size = 96;
  int32_t max_positions = 1024;
  int32_t sliding_window = 0;  // 0: none
  int32_t num_experts = 4;
  int32_t num_experts_per_tok = 2;
  bool tie_word_embeddings = false;
  uint64_t seed = 1;
  std::optional<int32_t> nan_token = {};  // the token whose embedding is NaN
};

// The files are gone when this returns: the checkpoint keeps them mapped. Eos is the vocabulary's
// last id. Failures are CHECKs.
Checkpoint MakeRandomCheckpoint(const RandomModelSpec& spec);

std::shared_ptr<const Model> LoadModelOf(const Checkpoint& checkpoint,
                                         std::shared_ptr<const Backend> backend);

}  // namespace vexact

#endif  // VEXACT_SUPPORT_RANDOM_MODEL_H_
