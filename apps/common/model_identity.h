// ModelIdentity: what of a model, beside its requests, decides an answer.
#ifndef VEXACT_COMMON_MODEL_IDENTITY_H_
#define VEXACT_COMMON_MODEL_IDENTITY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine_config.h"
#include "engine/load_model.h"

namespace vexact {

struct ModelIdentity {
  std::string engine_version;
  std::string profile;                 // of the arithmetic (numerics/profile.h)
  std::string weights_id;              // checkpoint/model_id.h
  std::string tokenizer_id;            // "" without a tokenizer
  std::vector<int32_t> eos_token_ids;  // that end an answer unless it ignores them; ascending
  std::string mask = "causal";         // of attention (engine/attention_choice.h)
};

// Of a model that an engine of this configuration runs. The weights are read once, on its
// num_threads, and their id is kept in CacheFolder().
Result<ModelIdentity> IdentifyModel(const ModelSource& source, const EngineConfig& config);

// $VEXACT_CACHE, else $XDG_CACHE_HOME/vexact, else $HOME/.cache/vexact, else "".
std::string CacheFolder();

}  // namespace vexact

#endif  // VEXACT_COMMON_MODEL_IDENTITY_H_
