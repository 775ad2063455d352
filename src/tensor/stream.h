// Stream: where a backend's operators run, in the order they are called.
#ifndef VEXACT_TENSOR_STREAM_H_
#define VEXACT_TENSOR_STREAM_H_

#include "base/thread_pool.h"

namespace vexact {

// On a CPU an operator has finished when its call returns; it spreads over `pool`. The number of
// threads changes no bit.
struct Stream {
  ThreadPool* pool;
};

}  // namespace vexact

#endif  // VEXACT_TENSOR_STREAM_H_
