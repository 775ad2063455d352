#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/host_backend.h"
#include "kernels/simd/cpu_target.h"

namespace vexact {
namespace {

class CpuBackend : public HostBackend {
 public:
  CpuBackend(CpuTarget target, Mode mode) : target_(target), mode_(mode) {}

  std::string_view name() const override { return CpuTargetName(target_); }
  Mode mode() const override { return mode_; }
  Result<LinearWeight> PackLinear(std::span<const Rows<const bf16>> parts) const override {
    return PackLinearCpu(target_, StackRows(parts).rows);
  }

  void Linear(const LinearArgs& args, Stream& stream) const override {
    if (stream.counts != nullptr) {
      ++stream.counts->linear;
      stream.counts->free_linear += mode_ == Mode::kVariant ? 1 : 0;
    }
    (mode_ == Mode::kInvariant ? LinearCpu : LinearVariantCpu)(target_, args, stream);
  }
  void RmsNorm(const RmsNormArgs& args, Stream& stream) const override {
    RmsNormCpu(target_, args, stream);
  }
  void ResidualNorm(const ResidualNormArgs& args, Stream& stream) const override {
    ResidualNormCpu(target_, args, stream);
  }
  void NormRopeWrite(const NormRopeWriteArgs& args, Stream& stream) const override {
    NormRopeWriteCpu(target_, args, stream);
  }
  void SiluMul(const SiluMulArgs& args, Stream& stream) const override {
    SiluMulCpu(target_, args, stream);
  }
  void Embedding(const EmbeddingArgs& args, Stream& stream) const override {
    EmbeddingCpu(args, stream);
  }
  void Attention(const AttentionArgs& args, Stream& stream) const override {
    // Masks but the causal one have the canonical kernels in both modes.
    const bool is_free = mode_ == Mode::kVariant && args.sequences.mask.kind == MaskKind::kCausal;
    if (stream.counts != nullptr) {
      ++stream.counts->attention;
      stream.counts->free_attention += is_free ? 1 : 0;
    }
    (is_free ? AttentionVariantCpu : AttentionCpu)(target_, args, stream);
  }
  void MoeRoute(const MoeRouteArgs& args, Stream& stream) const override {
    MoeRouteCpu(target_, args, stream);
  }
  void MoeCombine(const MoeCombineArgs& args, Stream& stream) const override {
    MoeCombineCpu(target_, args, stream);
  }
  void SumLogits(const SumLogitsArgs& args, Stream& stream) const override {
    SumLogitsCpu(target_, args, stream);
  }
  void Logprob(const LogprobArgs& args, Stream& stream) const override {
    LogprobCpu(target_, args, stream);
  }
  Status Sample(const SampleArgs& args, Stream& stream) const override {
    SampleCpu(target_, args, stream);
    return {};
  }

 private:
  CpuTarget target_;
  Mode mode_;
};

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(Mode mode) {
  return MakeCpuBackend(SupportedCpuTargets().back(), mode);
}

std::unique_ptr<Backend> MakeCpuBackend(CpuTarget target, Mode mode) {
  const std::vector<CpuTarget> supported = SupportedCpuTargets();
  VX_CHECK(std::ranges::find(supported, target) != supported.end(), "a target of this processor");
  return std::make_unique<CpuBackend>(target, mode);
}

}  // namespace vexact
