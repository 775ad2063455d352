// ModelConfig from a Hugging Face directory.
#ifndef VEXACT_CHECKPOINT_HF_CONFIG_H_
#define VEXACT_CHECKPOINT_HF_CONFIG_H_

#include <string>
#include <string_view>

#include "base/result.h"
#include "checkpoint/model_config.h"

namespace vexact {

// `text` is config.json, written by transformers 4 (rope_theta, rope_scaling) or 5
// (rope_parameters); `file` is for error messages. What changes the arithmetic and is not
// implemented (quantisation, sliding windows in some layers, other rope types, layer types or
// activations, biases on o or the MLP) is refused by name; fields without influence are passed
// over.
Result<ModelConfig> ParseHfConfig(std::string_view text, const std::string& file);

// Adds generation_config.json: sampling defaults, and its eos_token_id, which replaces
// config.json's stop ids.
Status ParseGenerationConfig(std::string_view text, const std::string& file, ModelConfig& config);

// Both files of `directory`; generation_config.json may be absent.
Result<ModelConfig> ReadHfConfig(const std::string& directory);

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_HF_CONFIG_H_
