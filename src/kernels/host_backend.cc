#include "kernels/host_backend.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace vexact {

std::string HostBackend::Description() const {
  const DeviceMemory memory = Memory();
  return fmt::format("CPU, {} kernels, {} processors, {:.1f} GiB of memory", name(),
                     sysconf(_SC_NPROCESSORS_ONLN),
                     static_cast<double>(memory.total_bytes) / (int64_t{1} << 30));
}

Result<Buffer> HostBackend::Allocate(size_t bytes) const { return AllocateHost(bytes); }

Result<Buffer> HostBackend::AllocateStaging(size_t bytes) const { return AllocateHost(bytes); }

DeviceMemory HostBackend::Memory() const {
  const int64_t page_bytes = sysconf(_SC_PAGESIZE);
  return {.total_bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * page_bytes,
          .free_bytes = int64_t{sysconf(_SC_AVPHYS_PAGES)} * page_bytes};
}

Result<OwnedStream> HostBackend::MakeStream(ThreadPool* pool) const {
  OwnedStream owned;
  owned.counts = std::make_unique<CallCounts>();
  owned.stream = {.pool = pool, .counts = owned.counts.get()};
  return owned;
}

void HostBackend::Upload(void* to, const void* host, size_t bytes, Stream&) const {
  std::memcpy(to, host, bytes);
}

void HostBackend::Download(void* host, const void* from, size_t bytes, Stream&) const {
  std::memcpy(host, from, bytes);
}

Status HostBackend::Synchronize(Stream&) const { return {}; }

void HostBackend::Notify(Stream&, void (*call)(void*, const char*), void* data) const {
  call(data, nullptr);
}

void HostBackend::Mark(StreamMark& mark, Stream&) const {
  mark.time = std::chrono::steady_clock::now();
}

void HostBackend::WaitForMark(const StreamMark&, Stream&) const {}

double HostBackend::MillisecondsBetween(const StreamMark& from, const StreamMark& to) const {
  return std::chrono::duration<double, std::milli>(to.time - from.time).count();
}

Result<CapturedWork> HostBackend::Capture(Stream&, FunctionRef<void()>) const {
  VX_CHECK(false, "Capture: a host backend cannot");
  return CapturedWork();
}

void HostBackend::Replay(const CapturedWork&, Stream&) const {
  VX_CHECK(false, "Replay: a host backend cannot");
}

Status HostBackend::PrepareLinear(std::span<const LinearProblem>, std::span<const int64_t>) const {
  return {};
}

Result<AttentionPlan> HostBackend::MakeAttentionPlan(const AttentionLimits& limits) const {
  return AttentionPlan{limits, Buffer()};
}

void HostBackend::PlanAttention(const PagedSequences&, const AttentionPlan&, Stream&) const {}

StackedRows StackRows(std::span<const Rows<const bf16>> parts) {
  VX_CHECK(!parts.empty(), "a part");
  StackedRows stacked;
  if (parts.size() == 1) {
    stacked.rows = parts[0];
    return stacked;
  }
  int64_t num_rows = 0;
  for (const Rows<const bf16>& part : parts) num_rows += part.rows;
  const int64_t cols = parts[0].cols;
  stacked.copy.resize(num_rows * cols);
  bf16* to = stacked.copy.data();
  for (const Rows<const bf16>& part : parts) {
    VX_CHECK(part.cols == cols, "parts of equal width");
    for (int64_t r = 0; r < part.rows; ++r) to = std::copy_n(part[r], cols, to);
  }
  stacked.rows = Rows<const bf16>(stacked.copy.data(), num_rows, cols);
  return stacked;
}

}  // namespace vexact
