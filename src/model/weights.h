// The weights of a decoder on a backend, and how they are read from a checkpoint.
#ifndef VEXACT_MODEL_WEIGHTS_H_
#define VEXACT_MODEL_WEIGHTS_H_

#include <initializer_list>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "kernels/backend.h"

namespace vexact {

// A vector of bf16 in the backend's memory; empty if the family has none.
struct VectorWeight {
  Buffer storage;
  int64_t size = 0;

  const bf16* data() const { return size == 0 ? nullptr : storage.as<bf16>(); }
};

struct ExpertWeights {
  LinearWeight gate_up;  // [2 * moe_intermediate, hidden]: gate's rows, then up's
  LinearWeight down;     // [hidden, moe_intermediate]
};

// One decoder layer. A family fills what it has; its file says which.
struct LayerWeights {
  VectorWeight input_norm;  // [hidden]
  LinearWeight qkv;         // [(heads + 2 kv_heads) * head_dim, hidden]: q's, k's, v's rows
  VectorWeight qkv_bias;    // [(heads + 2 kv_heads) * head_dim]
  VectorWeight q_norm;      // [head_dim]
  VectorWeight k_norm;      // [head_dim]
  LinearWeight o;           // [hidden, heads * head_dim]
  VectorWeight post_attention_norm;  // [hidden]
  LinearWeight gate_up;              // [2 * intermediate, hidden]: gate's rows, then up's
  LinearWeight down;                 // [hidden, intermediate]
  LinearWeight router;               // [experts, hidden]
  std::vector<ExpertWeights> experts;
};

// Reads one layer's tensors by their Hugging Face names.
class LayerLoader {
 public:
  // All references must outlive the loader. `prefix` is "model.layers.3.".
  LayerLoader(const Checkpoint& checkpoint, const Backend& backend, Stream& stream,
              std::string prefix)
      : checkpoint_(checkpoint), backend_(backend), stream_(stream), prefix_(std::move(prefix)) {}

  // The named weights stacked along their output rows into one linear layer.
  Status Linear(std::initializer_list<std::string> names, LinearWeight* weight) const;
  // The named vectors, one after the other.
  Status Vector(std::initializer_list<std::string> names, VectorWeight* weight) const;

 private:
  const Checkpoint& checkpoint_;
  const Backend& backend_;
  Stream& stream_;
  std::string prefix_;
};

}  // namespace vexact

#endif  // VEXACT_MODEL_WEIGHTS_H_
