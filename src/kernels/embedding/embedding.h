// Token embedding: y[t] = table[ids[t]], a copy.
#ifndef VEXACT_KERNELS_EMBEDDING_EMBEDDING_H_
#define VEXACT_KERNELS_EMBEDDING_EMBEDDING_H_

#include <cstdint>

#include "numerics/bf16.h"
#include "numerics/host_device.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

struct EmbeddingArgs {
  Rows<const bf16> table;  // [vocabulary, hidden]
  const int32_t* ids;      // [y.rows], each in [0, vocabulary)
  Rows<bf16> y;            // [tokens, hidden]
  // Tokens that a step before has still to draw: where slots[t] >= 0 the id is newest[slots[t]].
  const int32_t* slots = nullptr;   // [y.rows], or none
  const int32_t* newest = nullptr;  // [sampler slots]
};

// What every backend requires; ends the program where shapes do not fit.
void CheckShapes(const EmbeddingArgs& args);

void EmbeddingReference(const EmbeddingArgs& args, Stream& stream);
void EmbeddingCpu(const EmbeddingArgs& args, Stream& stream);
void EmbeddingSm90(const EmbeddingArgs& args, Stream& stream);

// The id of row t.
VX_HOST_DEVICE inline int64_t EmbeddedId(const EmbeddingArgs& args, int64_t t) {
  const bool pending = args.slots != nullptr && args.slots[t] >= 0;
  return pending ? args.newest[args.slots[t]] : args.ids[t];
}

}  // namespace vexact

#endif  // VEXACT_KERNELS_EMBEDDING_EMBEDDING_H_
