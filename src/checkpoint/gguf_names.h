// Tensor names of GGUF files (llama.cpp's) as Hugging Face names.
#ifndef VEXACT_CHECKPOINT_GGUF_NAMES_H_
#define VEXACT_CHECKPOINT_GGUF_NAMES_H_

#include <optional>
#include <string>
#include <string_view>

namespace vexact {

struct GgufNameMapping {
  std::string prefix;  // "model.layers.3.self_attn.q_proj.weight", or, for merged experts, what
                       // comes before the expert's number: "model.layers.3.mlp.experts."
  std::string suffix;  // what comes after it, ".gate_proj.weight"
  bool is_merged_experts = false;     // the outermost size counts the experts
  bool is_rotary_projection = false;  // q or k weight: rows are permuted in architecture llama
};

// Empty for a name that is none of these families'.
std::optional<GgufNameMapping> MapGgufName(std::string_view name);

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_GGUF_NAMES_H_
