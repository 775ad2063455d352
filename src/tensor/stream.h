// Stream: where a backend's operators run, in the order they are called.
#ifndef VEXACT_TENSOR_STREAM_H_
#define VEXACT_TENSOR_STREAM_H_

#include <cstdint>
#include <memory>

#include "base/thread_pool.h"
#include "tensor/buffer.h"

struct CUstream_st;  // what cudaStream_t points to

namespace vexact {

// How often linears and attention ran, and how often of these on a schedule whose bits may differ
// from the canonical ones (mode variant).
struct CallCounts {
  int64_t linear = 0;
  int64_t free_linear = 0;
  int64_t attention = 0;
  int64_t free_attention = 0;

  CallCounts& operator+=(const CallCounts& o) {
    linear += o.linear;
    free_linear += o.free_linear;
    attention += o.attention;
    free_attention += o.free_attention;
    return *this;
  }
};

// On a CPU an operator has finished when its call returns; it spreads over `pool`. The number of
// threads changes no bit. On a GPU an operator's call returns once its work is in `cuda`'s queue.
struct Stream {
  ThreadPool* pool = nullptr;
  CUstream_st* cuda = nullptr;
  // Of all calls so far, those of replayed work included; may be null.
  CallCounts* counts = nullptr;
  // Scratch memory of the device that the stream's operators use in turn; may be null.
  const Buffer* workspace = nullptr;
};

// A stream and what belongs to it on the device (Backend::MakeStream).
struct OwnedStream {
  Stream stream;
  std::unique_ptr<CUstream_st, void (*)(CUstream_st*)> queue{nullptr, nullptr};
  std::unique_ptr<CallCounts> counts = {};
  std::unique_ptr<Buffer> workspace = {};
};

// Work that a backend recorded once and can queue again in one go (Backend::Capture).
struct CapturedWork {
  std::unique_ptr<void, void (*)(void*)> graph{nullptr, nullptr};
  CallCounts calls = {};  // of one replay
};

}  // namespace vexact

#endif  // VEXACT_TENSOR_STREAM_H_
