// Scratch: device memory for as long as one operator's work takes, in the stream's order. Best kept
// by the device's pool between calls (cudaMemPoolAttrReleaseThreshold).
#ifndef VEXACT_KERNELS_SM90_SCRATCH_CUH_
#define VEXACT_KERNELS_SM90_SCRATCH_CUH_

#include <cstddef>

#include "kernels/sm90/launch.cuh"

namespace vexact::sm90 {

class Scratch {
 public:
  Scratch(size_t bytes, const Stream& stream) : stream_(stream) {
    CheckCuda(cudaMallocAsync(&data_, bytes, stream.cuda));
  }
  ~Scratch() { CheckCuda(cudaFreeAsync(data_, stream_.cuda)); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* data() const { return data_; }

 private:
  const Stream& stream_;
  void* data_ = nullptr;
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_SCRATCH_CUH_
