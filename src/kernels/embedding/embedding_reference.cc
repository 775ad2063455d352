#include <algorithm>

#include "base/check.h"
#include "kernels/embedding/embedding.h"

namespace vexact {

void CheckShapes(const EmbeddingArgs& args) {
  VX_CHECK(args.table.cols == args.y.cols, "y.cols == hidden");
}

void EmbeddingReference(const EmbeddingArgs& args, Stream& stream) {
  CheckShapes(args);
  stream.pool->ParallelFor(args.y.rows, [&](int64_t t) {
    const int64_t id = EmbeddedId(args, t);
    VX_CHECK(id >= 0 && id < args.table.rows, "id in the vocabulary");
    std::copy_n(args.table[id], args.y.cols, args.y[t]);
  });
}

}  // namespace vexact
