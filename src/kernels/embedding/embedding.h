// Token embedding: y[t] = table[ids[t]], a copy.
#ifndef VEXACT_KERNELS_EMBEDDING_EMBEDDING_H_
#define VEXACT_KERNELS_EMBEDDING_EMBEDDING_H_

#include <cstdint>

#include "numerics/bf16.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

struct EmbeddingArgs {
  Rows<const bf16> table;  // [vocabulary, hidden]
  const int32_t* ids;      // [y.rows], each in [0, vocabulary)
  Rows<bf16> y;            // [tokens, hidden]
};

void EmbeddingReference(const EmbeddingArgs& args, Stream& stream);
void EmbeddingCpu(const EmbeddingArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_EMBEDDING_EMBEDDING_H_
