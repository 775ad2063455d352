#include "tensor/kernel_trace.h"

#include <cupti.h>
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "base/check.h"

namespace vexact {
namespace {

constexpr const char* kUsualPlaces[] = {"libcupti.so.13", "/usr/local/cuda/lib64/libcupti.so.13",
                                        "/usr/local/cuda/extras/CUPTI/lib64/libcupti.so.13",
                                        "/usr/local/cuda-13.0/extras/CUPTI/lib64/libcupti.so.13"};
constexpr size_t kBufferBytes = size_t{8} << 20;  // about 40,000 records
constexpr uint32_t kFlushAlways = 1;              // records that are not complete too

struct Functions {
  decltype(&cuptiActivityRegisterCallbacks) register_callbacks;
  decltype(&cuptiActivityEnable) enable;
  decltype(&cuptiActivityDisable) disable;
  decltype(&cuptiActivityFlushAll) flush_all;
  decltype(&cuptiActivityGetNextRecord) next_record;
  decltype(&cuptiActivityGetNumDroppedRecords) num_dropped;
  decltype(&cuptiGetTimestamp) timestamp;
  decltype(&cuptiGetResultString) result_string;
};

template <typename F>
bool Find(void* file, const char* name, F** function) {
  *function = reinterpret_cast<F*>(dlsym(file, name));
  return *function != nullptr;
}

bool FindAll(void* file, Functions* f) {
  return Find(file, "cuptiActivityRegisterCallbacks", &f->register_callbacks) &&
         Find(file, "cuptiActivityEnable", &f->enable) &&
         Find(file, "cuptiActivityDisable", &f->disable) &&
         Find(file, "cuptiActivityFlushAll", &f->flush_all) &&
         Find(file, "cuptiActivityGetNextRecord", &f->next_record) &&
         Find(file, "cuptiActivityGetNumDroppedRecords", &f->num_dropped) &&
         Find(file, "cuptiGetTimestamp", &f->timestamp) &&
         Find(file, "cuptiGetResultString", &f->result_string);
}

Status CuptiStatus(const Functions& f, CUptiResult result, const char* what) {
  if (result == CUPTI_SUCCESS) return {};
  const char* text = "an unknown error";
  f.result_string(result, &text);
  return Unsupported("CUPTI, {}: expected success, found {}", what, text);
}

// What is kept of CUPTI's records until the trace ends; names live as long as their kernels.
struct KernelTimes {
  const char* name;
  uint64_t begin_ns;
  uint64_t end_ns;
  uint32_t stream;
  uint32_t launch;
};

struct Records {
  Functions functions = {};
  std::mutex mutex;  // guards what is below: CUPTI calls from threads of its own
  std::vector<KernelTimes> kernels;
  size_t num_dropped = 0;
};

// CUPTI's callbacks take no argument of ours, so the process has one place for its trace.
std::atomic<Records*>& TheRecords() {
  static std::atomic<Records*> records{nullptr};
  return records;
}

void CUPTIAPI RequestBuffer(uint8_t** buffer, size_t* bytes, size_t* max_records) {
  *buffer = static_cast<uint8_t*>(std::malloc(kBufferBytes));  // aligned for any record
  *bytes = *buffer == nullptr ? 0 : kBufferBytes;
  *max_records = 0;  // as many as fit
}

void CUPTIAPI TakeBuffer(CUcontext context, uint32_t stream, uint8_t* buffer, size_t /*bytes*/,
                         size_t valid_bytes) {
  if (Records* const records = TheRecords().load(); records != nullptr) {
    const std::lock_guard lock(records->mutex);
    CUpti_Activity* record = nullptr;
    while (records->functions.next_record(buffer, valid_bytes, &record) == CUPTI_SUCCESS) {
      if (record->kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) continue;
      const auto& kernel = *reinterpret_cast<const CUpti_ActivityKernel10*>(record);
      records->kernels.push_back(
          {kernel.name, kernel.start, kernel.end, kernel.streamId, kernel.correlationId});
    }
    size_t dropped = 0;
    records->functions.num_dropped(context, stream, &dropped);
    records->num_dropped += dropped;
  }
  std::free(buffer);
}

}  // namespace

struct KernelTrace::State {
  Records records;
};

KernelTrace::KernelTrace(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<KernelTrace>> KernelTrace::Start() {
  void* file = nullptr;  // never closed: CUPTI stays hooked into the driver
  for (const char* place : kUsualPlaces) {
    file = dlopen(place, RTLD_NOW | RTLD_LOCAL);
    if (file != nullptr) break;
  }
  if (file == nullptr) {
    return NotFound("CUPTI: expected one of {}, found none", fmt::join(kUsualPlaces, ", "));
  }
  auto state = std::make_unique<State>();
  Functions& f = state->records.functions;
  if (!FindAll(file, &f)) {
    return Unsupported("CUPTI: expected the functions of version 13, found not all");
  }
  VX_CHECK(TheRecords().exchange(&state->records) == nullptr, "one trace at a time");
  std::unique_ptr<KernelTrace> trace(new KernelTrace(std::move(state)));
  VX_RETURN_IF_ERROR(
      CuptiStatus(f, f.register_callbacks(RequestBuffer, TakeBuffer), "registering callbacks"));
  VX_RETURN_IF_ERROR(CuptiStatus(f, f.enable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL),
                                 "asking for records of kernels"));
  return trace;
}

KernelTrace::~KernelTrace() {
  const Functions& f = state_->records.functions;
  f.disable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
  f.flush_all(kFlushAlways);
  TheRecords().store(nullptr);
}

uint64_t KernelTrace::Now() const {
  uint64_t now = 0;
  state_->records.functions.timestamp(&now);
  return now;
}

Result<std::vector<KernelRecord>> KernelTrace::Kernels(uint64_t begin_ns, uint64_t end_ns) {
  Records& records = state_->records;
  VX_RETURN_IF_ERROR(
      CuptiStatus(records.functions, records.functions.flush_all(kFlushAlways), "flushing"));
  const std::lock_guard lock(records.mutex);
  if (records.num_dropped > 0) {
    return MakeError(ErrorCode::kInternal, "CUPTI: expected a record of every kernel, lost {}",
                     records.num_dropped);
  }
  std::vector<KernelRecord> kernels;
  for (const KernelTimes& kernel : records.kernels) {
    if (kernel.end_ns < begin_ns || kernel.end_ns >= end_ns) continue;
    kernels.push_back({kernel.name, kernel.begin_ns, kernel.end_ns, kernel.stream, kernel.launch});
  }
  std::ranges::sort(kernels, {}, &KernelRecord::begin_ns);
  return kernels;
}

}  // namespace vexact
