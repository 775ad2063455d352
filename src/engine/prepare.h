// From what a client asks to what the engine can compute, or why it never can.
#ifndef VEXACT_ENGINE_PREPARE_H_
#define VEXACT_ENGINE_PREPARE_H_

#include "engine/engine.h"
#include "engine/engine_config.h"
#include "tokenizer/tokenizer.h"

namespace vexact {

// What the answer to "can this ever be answered" depends on.
struct PrepareContext {
  const ResolvedConfig& resolved;
  int64_t vocab_size;
  const Tokenizer* tokenizer;  // may be null
};

// Tokenises, checks and chooses the seed. Errors name field, expected, found; kResourceExhausted if
// the request needs more KV blocks than there are.
Result<PreparedRequest> PrepareRequest(Request request, RequestId id,
                                       const PrepareContext& context);

// Tokens that the request may get, or for a score request has.
int32_t MaxOutputTokens(const PreparedRequest& request, int32_t max_model_len);

// The seed of a request without one: 53 bits of Philox4x32-10 with key = the engine's seed and
// counter = (index, index >> 32, 0, 1). 53, so that JSON readers keep it exactly; the counter's
// last word is 0 in every draw of a token.
int64_t DeriveSeed(int64_t engine_seed, int64_t index);

}  // namespace vexact

#endif  // VEXACT_ENGINE_PREPARE_H_
