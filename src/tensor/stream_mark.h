// StreamMark: a point of a stream's work and the time when the stream came there (Backend::Mark).
#ifndef VEXACT_TENSOR_STREAM_MARK_H_
#define VEXACT_TENSOR_STREAM_MARK_H_

#include <chrono>
#include <memory>

namespace vexact {

struct StreamMark {
  std::chrono::steady_clock::time_point time;                      // on a CPU
  std::unique_ptr<void, void (*)(void*)> event{nullptr, nullptr};  // on a GPU
};

}  // namespace vexact

#endif  // VEXACT_TENSOR_STREAM_MARK_H_
