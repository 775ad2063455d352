#include "tensor/cuda.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "tensor/cuda_mark.h"

namespace vexact {
namespace {

// What makes every later call fail with the same error, as driver_types.h tells of each, and an
// error that nobody knows: the device's fault, told at the next synchronisation, not the caller's.
bool IsDeviceFailure(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorHardwareStackError:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorExternalDevice:
    case cudaErrorMpsClientTerminated:
    case cudaErrorAssert:
    case cudaErrorLaunchTimeout:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

Error DeviceError(std::string_view what, cudaError_t error) {
  return Error{ErrorCode::kInternal,
               fmt::format("cuda: {}: expected success, found {} ({})", what,
                           cudaGetErrorName(error), cudaGetErrorString(error))};
}

Error OutOfMemory(std::string_view kind, size_t bytes, std::string_view left) {
  return Error{ErrorCode::kResourceExhausted,
               fmt::format("{}: expected {} free bytes, found {}", kind, bytes, left)};
}

struct Notification {
  void (*call)(void*, const char*);
  void* data;
};

}  // namespace

void CheckCuda(int error) {
  const auto code = static_cast<cudaError_t>(error);
  VX_CHECK(code == cudaSuccess || IsDeviceFailure(code), cudaGetErrorString(code));
}

Result<CudaDevice> FirstCudaDevice() {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found != cudaSuccess || count == 0) {
    return Unsupported("cuda: expected a driver and a GPU, found {}",
                       found == cudaSuccess ? "no GPU" : cudaGetErrorString(found));
  }
  cudaDeviceProp properties;
  if (const cudaError_t e = cudaGetDeviceProperties(&properties, 0); e != cudaSuccess) {
    return DeviceError("properties of device 0", e);
  }
  CudaDevice device;
  device.name = properties.name;
  device.compute_major = properties.major;
  device.compute_minor = properties.minor;
  device.num_multiprocessors = properties.multiProcessorCount;
  device.memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  CheckCuda(cudaDriverGetVersion(&device.driver_version));
  CheckCuda(cudaRuntimeGetVersion(&device.runtime_version));
  return device;
}

Result<Buffer> AllocateCuda(size_t bytes) {
  if (bytes == 0) return Buffer();
  void* data = nullptr;
  if (const cudaError_t e = cudaMalloc(&data, bytes); e != cudaSuccess) {
    if (e != cudaErrorMemoryAllocation) return DeviceError("cudaMalloc", e);
    static_cast<void>(cudaGetLastError());  // this error stays with the runtime otherwise
    int64_t free_bytes = 0;
    int64_t total_bytes = 0;
    VX_RETURN_IF_ERROR(CudaMemoryInfo(&free_bytes, &total_bytes));
    return OutOfMemory("device memory", bytes, fmt::format("{} of {}", free_bytes, total_bytes));
  }
  Buffer buffer(static_cast<std::byte*>(data), bytes, data,
                [](void* p) { static_cast<void>(cudaFree(p)); });
  const cudaError_t e = cudaMemset(data, 0, bytes);
  // Streams of ours do not wait for the one that cudaMemset runs on.
  const cudaError_t done = e == cudaSuccess ? cudaStreamSynchronize(nullptr) : e;
  if (done != cudaSuccess) return DeviceError("cudaMemset", done);
  return buffer;
}

Result<Buffer> AllocatePinned(size_t bytes) {
  if (bytes == 0) return Buffer();
  void* data = nullptr;
  if (const cudaError_t e = cudaMallocHost(&data, bytes); e != cudaSuccess) {
    if (e != cudaErrorMemoryAllocation) return DeviceError("cudaMallocHost", e);
    static_cast<void>(cudaGetLastError());
    return OutOfMemory("page-locked host memory", bytes, "fewer");
  }
  Buffer buffer(static_cast<std::byte*>(data), bytes, data,
                [](void* p) { static_cast<void>(cudaFreeHost(p)); });
  std::fill_n(buffer.data(), bytes, std::byte{0});
  return buffer;
}

Status KeepFreedCudaMemory() {
  cudaMemPool_t pool = nullptr;
  uint64_t threshold = std::numeric_limits<uint64_t>::max();
  cudaError_t e = cudaDeviceGetDefaultMemPool(&pool, 0);
  if (e == cudaSuccess) {
    e = cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold);
  }
  if (e != cudaSuccess) return DeviceError("the pool of stream-ordered memory", e);
  return {};
}

Status CudaMemoryInfo(int64_t* free_bytes, int64_t* total_bytes) {
  size_t free_now = 0;
  size_t total = 0;
  if (const cudaError_t e = cudaMemGetInfo(&free_now, &total); e != cudaSuccess) {
    return DeviceError("cudaMemGetInfo", e);
  }
  *free_bytes = static_cast<int64_t>(free_now);
  *total_bytes = static_cast<int64_t>(total);
  return {};
}

Result<OwnedStream> MakeCudaStream() {
  cudaStream_t queue = nullptr;
  if (const cudaError_t e = cudaStreamCreateWithFlags(&queue, cudaStreamNonBlocking);
      e != cudaSuccess) {
    return DeviceError("cudaStreamCreate", e);
  }
  OwnedStream owned;
  owned.queue = {queue, [](CUstream_st* q) { static_cast<void>(cudaStreamDestroy(q)); }};
  owned.stream.cuda = queue;
  return owned;
}

Status SynchronizeCuda(const Stream& stream) {
  const cudaError_t e = cudaStreamSynchronize(stream.cuda);
  if (e != cudaSuccess) return DeviceError("a step's work", e);
  return {};
}

void CopyToCuda(void* to, const void* host, size_t bytes, const Stream& stream) {
  CheckCuda(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, stream.cuda));
}

void CopyFromCuda(void* host, const void* from, size_t bytes, const Stream& stream) {
  CheckCuda(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, stream.cuda));
}

void NotifyCuda(const Stream& stream, void (*call)(void*, const char*), void* data) {
  // cudaStreamAddCallback, not cudaLaunchHostFunc: the latter is never called after a failure, and
  // who waits would wait for ever.
  auto notification = std::make_unique<Notification>(Notification{call, data});
  const cudaError_t added = cudaStreamAddCallback(
      stream.cuda,
      [](cudaStream_t, cudaError_t error, void* user) {
        const std::unique_ptr<Notification> n(static_cast<Notification*>(user));
        n->call(n->data, error == cudaSuccess ? nullptr : cudaGetErrorString(error));
      },
      notification.get(), 0);
  if (added == cudaSuccess) {
    static_cast<void>(notification.release());
  } else {
    CheckCuda(added);
    call(data, cudaGetErrorString(added));
  }
}

Result<StreamMark> MakeCudaMark() {
  cudaEvent_t event = nullptr;
  if (const cudaError_t e = cudaEventCreate(&event); e != cudaSuccess) {
    return DeviceError("cudaEventCreate", e);
  }
  StreamMark mark;
  mark.event = {event,
                [](void* m) { static_cast<void>(cudaEventDestroy(static_cast<cudaEvent_t>(m))); }};
  return mark;
}

void MarkCuda(const StreamMark& mark, const Stream& stream) {
  CheckCuda(cudaEventRecord(static_cast<cudaEvent_t>(mark.event.get()), stream.cuda));
}

void WaitForCudaMark(const StreamMark& mark, const Stream& stream) {
  CheckCuda(cudaStreamWaitEvent(stream.cuda, static_cast<cudaEvent_t>(mark.event.get()), 0));
}

double CudaMillisecondsBetween(const StreamMark& from, const StreamMark& to) {
  float milliseconds = 0.0f;
  CheckCuda(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(from.event.get()),
                                 static_cast<cudaEvent_t>(to.event.get())));
  return milliseconds;
}

Result<CapturedWork> CaptureCuda(const Stream& stream, FunctionRef<void()> work) {
  if (const cudaError_t e = cudaStreamBeginCapture(stream.cuda, cudaStreamCaptureModeThreadLocal);
      e != cudaSuccess) {
    return DeviceError("cudaStreamBeginCapture", e);
  }
  work();
  cudaGraph_t graph = nullptr;
  if (const cudaError_t e = cudaStreamEndCapture(stream.cuda, &graph); e != cudaSuccess) {
    return DeviceError("cudaStreamEndCapture", e);
  }
  cudaGraphExec_t executable = nullptr;
  const cudaError_t e = cudaGraphInstantiate(&executable, graph, 0);
  CheckCuda(cudaGraphDestroy(graph));
  if (e != cudaSuccess) return DeviceError("cudaGraphInstantiate", e);
  CapturedWork captured;
  captured.graph = {executable, [](void* g) {
                      static_cast<void>(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(g)));
                    }};
  return captured;
}

void ReplayCuda(const CapturedWork& work, const Stream& stream) {
  CheckCuda(cudaGraphLaunch(static_cast<cudaGraphExec_t>(work.graph.get()), stream.cuda));
}

Result<std::unique_ptr<PinnedUploader>> PinnedUploader::Create() {
  std::unique_ptr<PinnedUploader> uploader(new PinnedUploader);
  for (int i = 0; i < kNumBuffers; ++i) {
    VX_ASSIGN_OR_RETURN(uploader->streams_[i], MakeCudaStream());
    VX_ASSIGN_OR_RETURN(uploader->buffers_[i], AllocatePinned(kBufferBytes));
  }
  return uploader;
}

Status PinnedUploader::Upload(Rows<const bf16> from, bf16* to, int64_t to_stride) {
  const auto row_bytes = static_cast<size_t>(to_stride) * sizeof(bf16);
  const auto rows_at_once = static_cast<int64_t>(kBufferBytes / row_bytes);
  VX_CHECK(rows_at_once > 0, "a row fits into a buffer");
  for (int64_t begin = 0; begin < from.rows; begin += rows_at_once) {
    const int64_t end = std::min(begin + rows_at_once, from.rows);
    const int buffer = std::exchange(next_, (next_ + 1) % kNumBuffers);
    VX_RETURN_IF_ERROR(SynchronizeCuda(streams_[buffer].stream));
    bf16* staged = buffers_[buffer].as<bf16>();
    for (int64_t r = begin; r < end; ++r, staged += to_stride) {
      std::fill(std::copy_n(from[r], from.cols, staged), staged + to_stride, bf16{});
    }
    CopyToCuda(to + begin * to_stride, buffers_[buffer].data(),
               static_cast<size_t>(end - begin) * row_bytes, streams_[buffer].stream);
  }
  for (const OwnedStream& owned : streams_) VX_RETURN_IF_ERROR(SynchronizeCuda(owned.stream));
  return {};
}

}  // namespace vexact
