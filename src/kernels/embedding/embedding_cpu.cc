#include <algorithm>

#include "kernels/embedding/embedding.h"
#include "kernels/simd/split.h"

namespace vexact {

void EmbeddingCpu(const EmbeddingArgs& args, Stream& stream) {
  CheckShapes(args);
  ParallelRanges(stream, args.y.rows, args.y.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::copy_n(args.table[EmbeddedId(args, r)], args.y.cols, args.y[r]);
    }
  });
}

}  // namespace vexact
