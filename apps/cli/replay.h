// How a receipt's answer is computed again. The tokens of each sample are given, and at every
// position a token is drawn after those before it: one prefill a sample. If every draw is the given
// token, generating token by token comes to the same, by induction; how the sample then finishes
// follows from its tokens. A request that ended with an error is generated again instead.
#ifndef VEXACT_CLI_REPLAY_H_
#define VEXACT_CLI_REPLAY_H_

#include <vector>

#include "common/receipt.h"
#include "common/request_result.h"
#include "tokenizer/tokenizer.h"

namespace vexact {

// What the engine has to answer; perhaps nothing, of a receipt without tokens.
std::vector<Request> ReplayRequests(const Receipt& receipt);

// The answer as the replay has it, to be compared with the receipt's (FirstDifference). `results`
// are those of ReplayRequests, in their order. `tokenizer` may be null, if it was.
RequestResult JoinReplay(const Receipt& receipt, std::vector<RequestResult> results,
                         const Tokenizer* tokenizer);

}  // namespace vexact

#endif  // VEXACT_CLI_REPLAY_H_
