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
  std::vector<std::string> tokens;   // [vocab_size], by id, in the byte-level alphabet
  std::vector<int32_t> token_types;  // [vocab_size] or empty; 1 normal, 3 control, 4 user-defined
  std::vector<float> scores;         // [vocab_size] or empty
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

// Ids are checked against the number of tokens, lists against each other.
Result<GgufTokenizer> ReadGgufTokenizer(const GgufMetadata& metadata);

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_GGUF_CONFIG_H_
