// Backend: the device, chosen once at load. One line for each operator; its contract is its header.
#ifndef VEXACT_KERNELS_BACKEND_H_
#define VEXACT_KERNELS_BACKEND_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "kernels/attention/attention.h"
#include "kernels/embedding/embedding.h"
#include "kernels/linear/linear.h"
#include "kernels/logprob/logprob.h"
#include "kernels/mode.h"
#include "kernels/moe/moe.h"
#include "kernels/norm_rope_write/norm_rope_write.h"
#include "kernels/residual_norm/residual_norm.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/sampling/sampling.h"
#include "kernels/silu_mul/silu_mul.h"
#include "kernels/simd/cpu_target.h"
#include "tensor/buffer.h"
#include "tensor/stream.h"
#include "tensor/stream_mark.h"

namespace vexact {

struct DeviceMemory {
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;
};

// Every backend of mode invariant gives the same bits for every operator (docs/numerics.md). Any
// thread may call any member at any time; calls on one stream take effect in their order. Pointers
// in an operator's arguments are into the backend's memory.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  virtual Mode mode() const = 0;
  virtual AttentionKernels attention_kernels() const = 0;
  // Whether what the other backend packed and allocated may be used here: one device and one layout
  // of weights, of whatever mode.
  bool SharesWeightsWith(const Backend& other) const { return name() == other.name(); }
  // For people: what the device is, with the versions of its software.
  virtual std::string Description() const = 0;
  // For people: one line for each schedule that PrepareLinear chose, and what it refused.
  virtual std::vector<std::string> LinearChoices() const = 0;

  // Memory, zero-filled. Of the device; and of the host, for Upload and Download.
  // kResourceExhausted names the bytes that could not be had.
  virtual Result<Buffer> Allocate(size_t bytes) const = 0;
  virtual Result<Buffer> AllocateStaging(size_t bytes) const = 0;

  // Bytes of the memory that Allocate gives: all of it, and what is left now.
  virtual DeviceMemory Memory() const = 0;
  // Whether operators read the host's own memory: then a mapped file needs no copy.
  virtual bool UsesHostMemory() const = 0;

  // `pool` outlives the stream.
  virtual Result<OwnedStream> MakeStream(ThreadPool* pool) const = 0;
  // Host memory must stay as it is, or is not there yet, until the stream has come so far.
  virtual void Upload(void* to, const void* host, size_t bytes, Stream& stream) const = 0;
  virtual void Download(void* host, const void* from, size_t bytes, Stream& stream) const = 0;
  // Waits for everything called on the stream so far. An error is the device's: it has failed.
  virtual Status Synchronize(Stream& stream) const = 0;
  // Calls back, from any thread, when everything called so far has finished; `error` is null, or
  // says how the device failed. `call` must be quick and must not use the backend; what is called
  // on the stream later waits until it has returned.
  virtual void Notify(Stream& stream, void (*call)(void* data, const char* error),
                      void* data) const = 0;

  virtual Result<StreamMark> MakeMark() const = 0;
  // Notes when the stream comes here, in place of what the mark noted before. Not in recorded work.
  virtual void Mark(StreamMark& mark, Stream& stream) const = 0;
  // What is called on `stream` from now on starts once the mark's stream has passed it.
  virtual void WaitForMark(const StreamMark& mark, Stream& stream) const = 0;
  // Time of the device from one mark to a later one of the same stream, which has passed both.
  virtual double MillisecondsBetween(const StreamMark& from, const StreamMark& to) const = 0;

  // Whether operators' work can be recorded and queued again in one go (CUDA graphs).
  virtual bool CanCapture() const = 0;
  // Records what `work` calls on `stream`, without running it. The same pointers and shapes hold
  // for every replay. Requires: CanCapture().
  virtual Result<CapturedWork> Capture(Stream& stream, FunctionRef<void()> work) const = 0;
  virtual void Replay(const CapturedWork& work, Stream& stream) const = 0;

  // Host rows [out of each part, in], stacked along `out`: one part or more, all as wide.
  virtual Result<LinearWeight> PackLinear(std::span<const Rows<const bf16>> parts) const = 0;
  Result<LinearWeight> PackLinear(Rows<const bf16> rows) const { return PackLinear({&rows, 1}); }
  // Chooses the fastest schedules for these problems at these numbers of rows: in mode invariant of
  // those proven against the device's plain kernel, in mode variant of all there are. What was not
  // prepared runs on kernels that need no proof. An error names problem and rows whose bits differ.
  virtual Status PrepareLinear(std::span<const LinearProblem> problems,
                               std::span<const int64_t> rows) const = 0;

  virtual Result<AttentionPlan> MakeAttentionPlan(const AttentionLimits& limits) const = 0;
  // Cuts the step's attention into units: before the first Attention of a step.
  virtual void PlanAttention(const PagedSequences& sequences, const AttentionPlan& plan,
                             Stream& stream) const = 0;

  virtual void Linear(const LinearArgs& args, Stream& stream) const = 0;
  virtual void RmsNorm(const RmsNormArgs& args, Stream& stream) const = 0;
  virtual void ResidualNorm(const ResidualNormArgs& args, Stream& stream) const = 0;
  virtual void NormRopeWrite(const NormRopeWriteArgs& args, Stream& stream) const = 0;
  virtual void SiluMul(const SiluMulArgs& args, Stream& stream) const = 0;
  virtual void Embedding(const EmbeddingArgs& args, Stream& stream) const = 0;
  virtual void Attention(const AttentionArgs& args, Stream& stream) const = 0;
  virtual void MoeRoute(const MoeRouteArgs& args, Stream& stream) const = 0;
  virtual void MoeCombine(const MoeCombineArgs& args, Stream& stream) const = 0;
  virtual void SumLogits(const SumLogitsArgs& args, Stream& stream) const = 0;
  virtual void Logprob(const LogprobArgs& args, Stream& stream) const = 0;
  // kResourceExhausted: the device has no memory for what the rows' parameters need; nothing was
  // done.
  virtual Status Sample(const SampleArgs& args, Stream& stream) const = 0;
};

// The plain functions of numerics.md: slow, the measure of every other backend.
std::unique_ptr<Backend> MakeReferenceBackend();
// SIMD (AVX-512, AVX2 with FMA, or scalar: chosen at run time, the bits are the same).
// In mode variant linears and causal attention are free (LinearVariantCpu, AttentionVariantCpu).
std::unique_ptr<Backend> MakeCpuBackend(Mode mode = Mode::kInvariant);
// The same on one of SupportedCpuTargets(): for tests and benchmarks.
std::unique_ptr<Backend> MakeCpuBackend(CpuTarget target, Mode mode = Mode::kInvariant);
// The first visible GPU, a Hopper (H100, H200). In mode variant linears run on the fastest of all
// algorithms there are, and attention on the free form of its kernels where they have one. Errors:
// kUnsupported if this program was built without CUDA, there is no driver or no such device, or the
// card is of another generation; each names what was found.
Result<std::unique_ptr<Backend>> MakeSm90Backend(
    Mode mode = Mode::kInvariant, AttentionKernels attention = AttentionKernels::kFa);

}  // namespace vexact

#endif  // VEXACT_KERNELS_BACKEND_H_
