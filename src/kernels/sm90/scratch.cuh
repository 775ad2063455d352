// Scratch: device memory for as long as one operator's work takes, in the stream's order. Best kept
// by the device's pool between calls (cudaMemPoolAttrReleaseThreshold).
#ifndef VEXACT_KERNELS_SM90_SCRATCH_CUH_
#define VEXACT_KERNELS_SM90_SCRATCH_CUH_

#include <cstddef>
#include <string>
#include <utility>

#include "base/result.h"
#include "kernels/sm90/launch.cuh"

namespace vexact::sm90 {

class Scratch {
 public:
  static Result<Scratch> Allocate(size_t bytes, const Stream& stream) {
    Scratch scratch;
    scratch.queue_ = stream.cuda;
    const cudaError_t e = cudaMallocAsync(&scratch.data_, bytes, stream.cuda);
    if (e == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());  // this error stays with the runtime otherwise
      scratch.data_ = nullptr;
      return Error{ErrorCode::kResourceExhausted, "device memory: expected " +
                                                      std::to_string(bytes) +
                                                      " free bytes for a step, found fewer"};
    }
    CheckCuda(e);
    return Result<Scratch>(std::move(scratch));
  }
  ~Scratch() {
    if (data_ != nullptr) CheckCuda(cudaFreeAsync(data_, queue_));
  }
  Scratch(Scratch&& other) noexcept
      : queue_(other.queue_), data_(std::exchange(other.data_, nullptr)) {}
  Scratch& operator=(Scratch&&) = delete;

  void* data() const { return data_; }

 private:
  Scratch() = default;
  cudaStream_t queue_ = nullptr;
  void* data_ = nullptr;
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_SCRATCH_CUH_
