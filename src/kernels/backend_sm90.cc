// The Hopper backend: memory and streams are the CUDA runtime's (tensor/cuda.h), operators are the
// *_sm90.cu of their folders.
#include <mutex>
#include <utility>

#include "base/check.h"
#include "kernels/backend.h"
#include "kernels/linear/linear_sm90.h"
#include "tensor/cuda.h"
#include "tensor/cuda_mark.h"

namespace vexact {
namespace {

// 13000: CUDA 13.0.
std::string VersionText(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

constexpr int64_t kRowAlignment = 8;  // elements: rows of weights start at multiples of 16 bytes

// "64 x 2048 -> 6144: cublasLt 66 ..., 13.2 us; refused: none". In mode variant what was fastest of
// each kind takes the place of what was refused: it says what a free choice of schedules brought.
std::string ChoiceText(const LinearChoice& choice) {
  const LinearProblem& p = choice.problem;
  const std::string text =
      fmt::format("{} x {} -> {}{}{}: {}, {:.1f} us{}", choice.rows, p.in_features, p.out_features,
                  p.has_bias ? " bias" : "", p.fp32_output ? " fp32" : "", choice.schedule,
                  choice.microseconds, choice.is_canonical ? "" : ", not canonical");
  if (choice.fastest_free.name.empty()) {
    return fmt::format(
        "{}; refused: {}", text,
        choice.refused.empty() ? "none" : fmt::format("{}", fmt::join(choice.refused, ", ")));
  }
  const TimedSchedule& other = choice.is_canonical ? choice.fastest_free : choice.fastest_canonical;
  return fmt::format("{}; fastest {}: {}, {:.1f} us", text,
                     choice.is_canonical ? "free one" : "canonical one", other.name,
                     other.microseconds);
}

class Sm90Backend final : public Backend {
 public:
  Sm90Backend(Mode mode, AttentionKernels attention, CudaDevice device,
              std::unique_ptr<LinearSm90> linear, std::unique_ptr<PinnedUploader> uploader)
      : mode_(mode),
        attention_(attention),
        device_(std::move(device)),
        linear_(std::move(linear)),
        uploader_(std::move(uploader)) {}

  std::string_view name() const override { return "sm90"; }
  Mode mode() const override { return mode_; }
  AttentionKernels attention_kernels() const override { return attention_; }
  std::string Description() const override {
    return fmt::format(
        "{}, compute capability {}.{}, {} multiprocessors, {:.1f} GiB of memory, driver for CUDA "
        "{}, runtime CUDA {}, {}",
        device_.name, device_.compute_major, device_.compute_minor, device_.num_multiprocessors,
        static_cast<double>(device_.memory_bytes) / (int64_t{1} << 30),
        VersionText(device_.driver_version), VersionText(device_.runtime_version),
        linear_->library());
  }
  std::vector<std::string> LinearChoices() const override {
    std::vector<std::string> lines;
    for (const LinearChoice& choice : linear_->Choices()) lines.push_back(ChoiceText(choice));
    return lines;
  }

  Result<Buffer> Allocate(size_t bytes) const override { return AllocateCuda(bytes); }
  Result<Buffer> AllocateStaging(size_t bytes) const override { return AllocatePinned(bytes); }
  DeviceMemory Memory() const override {
    DeviceMemory memory;
    // A device that has failed has no memory left to give.
    if (!CudaMemoryInfo(&memory.free_bytes, &memory.total_bytes).ok()) return {};
    return memory;
  }
  bool UsesHostMemory() const override { return false; }
  Result<OwnedStream> MakeStream(ThreadPool* pool) const override {
    VX_ASSIGN_OR_RETURN(OwnedStream owned, MakeCudaStream());
    owned.counts = std::make_unique<CallCounts>();
    owned.stream.pool = pool;
    owned.stream.counts = owned.counts.get();
    if (mode_ == Mode::kVariant) {
      VX_ASSIGN_OR_RETURN(Buffer workspace, AllocateCuda(kLinearWorkspaceBytes));
      owned.workspace = std::make_unique<Buffer>(std::move(workspace));
      owned.stream.workspace = owned.workspace.get();
    }
    return owned;
  }
  void Upload(void* to, const void* host, size_t bytes, Stream& s) const override {
    CopyToCuda(to, host, bytes, s);
  }
  void Download(void* host, const void* from, size_t bytes, Stream& s) const override {
    CopyFromCuda(host, from, bytes, s);
  }
  Status Synchronize(Stream& s) const override { return SynchronizeCuda(s); }
  void Notify(Stream& s, void (*call)(void*, const char*), void* data) const override {
    NotifyCuda(s, call, data);
  }
  Result<StreamMark> MakeMark() const override { return MakeCudaMark(); }
  void Mark(StreamMark& mark, Stream& s) const override { MarkCuda(mark, s); }
  void WaitForMark(const StreamMark& mark, Stream& s) const override { WaitForCudaMark(mark, s); }
  double MillisecondsBetween(const StreamMark& from, const StreamMark& to) const override {
    return CudaMillisecondsBetween(from, to);
  }
  bool CanCapture() const override { return true; }
  Result<CapturedWork> Capture(Stream& s, FunctionRef<void()> work) const override {
    CallCounts calls;  // of the recording: counted when it is replayed
    CallCounts* const counts = std::exchange(s.counts, &calls);
    Result<CapturedWork> captured = CaptureCuda(s, work);
    s.counts = counts;
    if (captured.ok()) captured->calls = calls;
    return captured;
  }
  void Replay(const CapturedWork& work, Stream& s) const override {
    if (s.counts != nullptr) *s.counts += work.calls;
    ReplayCuda(work, s);
  }

  Result<LinearWeight> PackLinear(std::span<const Rows<const bf16>> parts) const override {
    LinearWeight weight;
    VX_CHECK(!parts.empty(), "a part");
    weight.in_features = parts[0].cols;
    for (const Rows<const bf16>& part : parts) {
      VX_CHECK(part.cols == weight.in_features, "parts of equal width");
      weight.out_features += part.rows;
    }
    const int64_t stride = (weight.in_features + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
    VX_ASSIGN_OR_RETURN(
        weight.storage,
        AllocateCuda(static_cast<size_t>(weight.out_features * stride) * sizeof(bf16)));
    bf16* to = weight.storage.as<bf16>();
    weight.rows = Rows<const bf16>(to, weight.out_features, weight.in_features, stride);
    const std::lock_guard lock(uploader_mutex_);
    for (const Rows<const bf16>& part : parts) {
      VX_RETURN_IF_ERROR(uploader_->Upload(part, to, stride));
      to += part.rows * stride;
    }
    return weight;
  }
  Status PrepareLinear(std::span<const LinearProblem> problems,
                       std::span<const int64_t> rows) const override {
    return linear_->Prepare(problems, rows);
  }
  Result<AttentionPlan> MakeAttentionPlan(const AttentionLimits& limits) const override {
    const int64_t d = limits.head_dim;
    if (d != 16 && d != 32 && d != 64 && d != 128) {
      return Unsupported("device cuda: head_dim: expected 16, 32, 64 or 128, found {}", d);
    }
    AttentionPlan plan{limits, Buffer(),
                       attention_ == AttentionKernels::kCute ? kAttentionCuteRunsPerSm : 1};
    VX_ASSIGN_OR_RETURN(plan.storage, AllocateCuda(AttentionPlanBytesSm90(limits)));
    return plan;
  }
  void PlanAttention(const PagedSequences& sequences, const AttentionPlan& plan,
                     Stream& s) const override {
    PlanAttentionSm90(sequences, plan, s);
  }

  void Linear(const LinearArgs& args, Stream& s) const override { linear_->Run(args, s); }
  void RmsNorm(const RmsNormArgs& args, Stream& s) const override { RmsNormSm90(args, s); }
  void ResidualNorm(const ResidualNormArgs& args, Stream& s) const override {
    ResidualNormSm90(args, s);
  }
  void NormRopeWrite(const NormRopeWriteArgs& args, Stream& s) const override {
    NormRopeWriteSm90(args, s);
  }
  void SiluMul(const SiluMulArgs& args, Stream& s) const override { SiluMulSm90(args, s); }
  void Embedding(const EmbeddingArgs& args, Stream& s) const override { EmbeddingSm90(args, s); }
  void Attention(const AttentionArgs& args, Stream& s) const override {
    const bool cute = attention_ == AttentionKernels::kCute;
    if (s.counts != nullptr) {
      ++s.counts->attention;
      s.counts->free_attention += cute && mode_ == Mode::kVariant ? 1 : 0;
    }
    if (cute) {
      AttentionCute(mode_, args, s);
    } else {
      AttentionSm90(args, s);
    }
  }
  void MoeRoute(const MoeRouteArgs& args, Stream& s) const override { MoeRouteSm90(args, s); }
  void MoeCombine(const MoeCombineArgs& args, Stream& s) const override { MoeCombineSm90(args, s); }
  void SumLogits(const SumLogitsArgs& args, Stream& s) const override { SumLogitsSm90(args, s); }
  void Logprob(const LogprobArgs& args, Stream& s) const override { LogprobSm90(args, s); }
  Status Sample(const SampleArgs& args, Stream& s) const override { return SampleSm90(args, s); }

 private:
  const Mode mode_;
  const AttentionKernels attention_;
  CudaDevice device_;
  std::unique_ptr<LinearSm90> linear_;
  mutable std::mutex uploader_mutex_;
  std::unique_ptr<PinnedUploader> uploader_;
};

}  // namespace

Result<std::unique_ptr<Backend>> MakeSm90Backend(Mode mode, AttentionKernels attention) {
  VX_ASSIGN_OR_RETURN(const CudaDevice device, FirstCudaDevice());
  if (device.compute_major != 9 || device.compute_minor != 0) {
    return Unsupported(
        "device cuda: expected a Hopper GPU (compute capability 9.0, profile sm90), found {} "
        "(compute capability {}.{})",
        device.name, device.compute_major, device.compute_minor);
  }
  VX_RETURN_IF_ERROR(KeepFreedCudaMemory());
  VX_ASSIGN_OR_RETURN(auto linear, LinearSm90::Create(0, mode));
  VX_ASSIGN_OR_RETURN(auto uploader, PinnedUploader::Create());
  return std::unique_ptr<Backend>(std::make_unique<Sm90Backend>(
      mode, attention, device, std::move(linear), std::move(uploader)));
}

}  // namespace vexact
