// The model and tokenizer descriptions in GGUF metadata.
#ifndef VEXACT_CHECKPOINT_GGUF_CONFIG_H_
#define VEXACT_CHECKPOINT_GGUF_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "checkpoint/gguf.h"
#include "checkpoint/model_config.h"

namespace vexact {

// tokenizer.ggml.* as the file has it; what it means is src/tokenizer's.
struct GgufTokenizer {
  std::string model;  // tokenizer.ggml.model: "gpt2" is byte-level BPE
  std::string pre;    // tokenizer.ggml.pre: "smollm", "llama-bpe", "qwen2"; empty when absent
  std::vector<std::string> tokens;  // by id; at most vocab_size of them, in the byte-level alphabet
  std::vector<int32_t> token_types;  // one a token, or empty; 1 normal, 3 control, 4 user-defined
  std::vector<float> scores;         // one a token, or empty
  std::vector<std::string> merges;   // "left right", best first
  std::optional<int32_t> bos_token_id;
  std::optional<int32_t> eos_token_id;
  std::optional<int32_t> eot_token_id;
  std::optional<int32_t> eom_token_id;
  std::optional<int32_t> unknown_token_id;
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
  std::optional<bool> add_space_prefix;
  std::string chat_template;  // empty when absent
};

// Architectures llama, qwen2, qwen3 and qwen3moe. Every "<architecture>.*" key must be one that is
// known here, so that nothing that changes the arithmetic is passed over.
// Errors: kInvalidArgument, kUnsupported; they name file, key, expected and found.
Result<ModelConfig> ReadGgufConfig(const GgufFile& gguf);

// Checks ids and the number of tokens against the model's vocab_size, and lists against each other.
Result<GgufTokenizer> ReadGgufTokenizer(const GgufMetadata& metadata, int32_t vocab_size);

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_GGUF_CONFIG_H_
