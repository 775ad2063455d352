// HostBackend: what backends whose memory is the host's have in common. Operators finish before
// their call returns, so there is nothing to wait for.
#ifndef VEXACT_KERNELS_HOST_BACKEND_H_
#define VEXACT_KERNELS_HOST_BACKEND_H_

#include "kernels/backend.h"

namespace vexact {

class HostBackend : public Backend {
 public:
  AttentionKernels attention_kernels() const override { return AttentionKernels::kFa; }
  std::string Description() const override;
  std::vector<std::string> LinearChoices() const override { return {}; }
  Result<Buffer> Allocate(size_t bytes) const override;
  Result<Buffer> AllocateStaging(size_t bytes) const override;
  DeviceMemory Memory() const override;
  bool UsesHostMemory() const override { return true; }
  Result<OwnedStream> MakeStream(ThreadPool* pool) const override;
  void Upload(void* to, const void* host, size_t bytes, Stream& stream) const override;
  void Download(void* host, const void* from, size_t bytes, Stream& stream) const override;
  Status Synchronize(Stream& stream) const override;
  void Notify(Stream& stream, void (*call)(void*, const char*), void* data) const override;
  Result<StreamMark> MakeMark() const override { return StreamMark(); }
  void Mark(StreamMark& mark, Stream& stream) const override;
  void WaitForMark(const StreamMark& mark, Stream& stream) const override;
  double MillisecondsBetween(const StreamMark& from, const StreamMark& to) const override;
  bool CanCapture() const override { return false; }
  Result<CapturedWork> Capture(Stream& stream, FunctionRef<void()> work) const override;
  void Replay(const CapturedWork& work, Stream& stream) const override;
  Status PrepareLinear(std::span<const LinearProblem> problems,
                       std::span<const int64_t> rows) const override;
  Result<AttentionPlan> MakeAttentionPlan(const AttentionLimits& limits) const override;
  void PlanAttention(const PagedSequences& sequences, const AttentionPlan& plan,
                     Stream& stream) const override;
};

// The parts' rows one after the other, without padding.
struct StackedRows {
  Rows<const bf16> rows;
  std::vector<bf16> copy;  // empty where there is one part, used as it is
};
StackedRows StackRows(std::span<const Rows<const bf16>> parts);

}  // namespace vexact

#endif  // VEXACT_KERNELS_HOST_BACKEND_H_
