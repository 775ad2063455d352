// The CUDA runtime behind Buffer, Stream and CapturedWork: memory, streams, recorded graphs. Only
// the Hopper backend includes this; the runtime is linked in and opens the driver when first used.
#ifndef VEXACT_TENSOR_CUDA_H_
#define VEXACT_TENSOR_CUDA_H_

#include <memory>
#include <string>

#include "base/function_ref.h"
#include "base/result.h"
#include "numerics/bf16.h"
#include "tensor/buffer.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

struct CudaDevice {
  std::string name;  // "NVIDIA H100 80GB HBM3"
  int compute_major = 0;
  int compute_minor = 0;
  int num_multiprocessors = 0;
  int driver_version = 0;  // 13000: CUDA 13.0
  int runtime_version = 0;
  int64_t memory_bytes = 0;
};

// The first visible device. Errors: kUnsupported without a driver or a device.
Result<CudaDevice> FirstCudaDevice();

// Zero-filled memory of the device; page-locked memory of the host. kResourceExhausted names the
// bytes wanted and left.
Result<Buffer> AllocateCuda(size_t bytes);
Result<Buffer> AllocatePinned(size_t bytes);
// Memory that stream-ordered allocations give back stays with this process for the next ones.
Status KeepFreedCudaMemory();
Status CudaMemoryInfo(int64_t* free_bytes, int64_t* total_bytes);

Result<OwnedStream> MakeCudaStream();
Status SynchronizeCuda(const Stream& stream);

// `error` is what a runtime call returned (a cudaError_t). Ends the program at a breach of contract
// (a wrong pointer, a launch that no device takes). Lets a failed device pass: it says so at
// SynchronizeCuda and NotifyCuda.
void CheckCuda(int error);

void CopyToCuda(void* to, const void* host, size_t bytes, const Stream& stream);
void CopyFromCuda(void* host, const void* from, size_t bytes, const Stream& stream);
void NotifyCuda(const Stream& stream, void (*call)(void*, const char*), void* data);

Result<CapturedWork> CaptureCuda(const Stream& stream, FunctionRef<void()> work);
void ReplayCuda(const CapturedWork& work, const Stream& stream);

// Copies rows of the host to the device through page-locked buffers, so that reading a mapped file
// and the transfer overlap. Thread contract: one thread at a time.
class PinnedUploader {
 public:
  static Result<std::unique_ptr<PinnedUploader>> Create();

  // Row r of `from` goes to `to` + r * to_stride elements, zeros behind it up to to_stride.
  // Requires: a row fits into a buffer.
  Status Upload(Rows<const bf16> from, bf16* to, int64_t to_stride);

 private:
  static constexpr int kNumBuffers = 4;
  static constexpr size_t kBufferBytes = size_t{8} << 20;

  PinnedUploader() = default;
  OwnedStream streams_[kNumBuffers];  // one a buffer: a buffer is free when its stream is idle
  Buffer buffers_[kNumBuffers];
  int next_ = 0;
};

}  // namespace vexact

#endif  // VEXACT_TENSOR_CUDA_H_
