// One whole step of a sampler, on any device, with logits given on the host.
#ifndef VEXACT_SUPPORT_SAMPLER_RUN_H_
#define VEXACT_SUPPORT_SAMPLER_RUN_H_

#include <span>

#include "sampler/sampler.h"

namespace vexact {

// logits[i], [rows, vocab], belongs to rows[i]; result->sequences exist.
void RunSampler(const Backend& backend, Sampler* sampler, Rows<const float> logits,
                std::span<const LogitRow> rows, StepResult* result);

// The token that the device would take for the slot's next input.
int32_t NewestToken(const Backend& backend, const Sampler& sampler, int32_t slot);

}  // namespace vexact

#endif  // VEXACT_SUPPORT_SAMPLER_RUN_H_
