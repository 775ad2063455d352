// Stream: where a backend's operators run, in the order they are called.
#ifndef VEXACT_TENSOR_STREAM_H_
#define VEXACT_TENSOR_STREAM_H_

#include <memory>

#include "base/thread_pool.h"

struct CUstream_st;  // what cudaStream_t points to

namespace vexact {

// On a CPU an operator has finished when its call returns; it spreads over `pool`. The number of
// threads changes no bit. On a GPU an operator's call returns once its work is in `cuda`'s queue.
struct Stream {
  ThreadPool* pool = nullptr;
  CUstream_st* cuda = nullptr;
};

// A stream and what belongs to it on the device (Backend::MakeStream).
struct OwnedStream {
  Stream stream;
  std::unique_ptr<CUstream_st, void (*)(CUstream_st*)> queue{nullptr, nullptr};
};

// Work that a backend recorded once and can queue again in one go (Backend::Capture).
struct CapturedWork {
  std::unique_ptr<void, void (*)(void*)> graph{nullptr, nullptr};
};

}  // namespace vexact

#endif  // VEXACT_TENSOR_STREAM_H_
