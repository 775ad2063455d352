// The fixed requests of the invariance proof, and the strangers that run beside them.
#ifndef VEXACT_DEMO_REQUESTS_H_
#define VEXACT_DEMO_REQUESTS_H_

#include <cstdint>
#include <vector>

#include "request/request.h"
#include "tokenizer/tokenizer.h"

namespace vexact {

inline constexpr int kNumProofRequests = 12;
inline constexpr int kNumStrangers = 20;
// Prompt and output tokens of the largest request.
inline constexpr int kLongestRequest = 324;

// 12 requests with prompts of 5 to 300 tokens and outputs of 24 to 48, half of them greedy, half at
// temperature 1 with filters and penalties. Prompts or outputs cross the attention's tile of 128
// positions (4 requests) and its segment of 256 (2). No two share their first KV block.
// `tokenizer` may be null: then the bytes of the text are its token ids.
std::vector<Request> ProofRequests(const Tokenizer* tokenizer, int32_t vocab_size);

// 20 short requests of other prompts and parameters.
std::vector<Request> Strangers(int32_t vocab_size);

// A fixed order of [0, count) that is not the natural one.
std::vector<int> ShuffledOrder(int count);

}  // namespace vexact

#endif  // VEXACT_DEMO_REQUESTS_H_
