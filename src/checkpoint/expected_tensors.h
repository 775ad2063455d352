// The one list of the tensors that a model consists of.
#ifndef VEXACT_CHECKPOINT_EXPECTED_TENSORS_H_
#define VEXACT_CHECKPOINT_EXPECTED_TENSORS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "checkpoint/model_config.h"

namespace vexact {

struct ExpectedTensor {
  std::string name;            // Hugging Face's, "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;  // linear weights are [outputs, inputs]
};

// Calls `visit` for every tensor of a model, in the order in which a forward pass meets them, and
// stops at its first error. A visitor and not a list, because a config that lies may name 3 million
// tensors: whoever checks a file finds the first missing one before any memory is taken.
// With tie_word_embeddings there is no "lm_head.weight": it is "model.embed_tokens.weight".
Status VisitExpectedTensors(const ModelConfig& config,
                            const std::function<Status(const ExpectedTensor&)>& visit);

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_EXPECTED_TENSORS_H_
