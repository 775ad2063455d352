#include "kernels/host_backend.h"

namespace vexact {
namespace {

class ReferenceBackend final : public HostBackend {
 public:
  std::string_view name() const override { return "reference"; }
  Mode mode() const override { return Mode::kInvariant; }
  Result<LinearWeight> PackLinear(std::span<const Rows<const bf16>> parts) const override {
    return PackLinearReference(StackRows(parts).rows);
  }

  void Linear(const LinearArgs& args, Stream& s) const override { LinearReference(args, s); }
  void RmsNorm(const RmsNormArgs& args, Stream& s) const override { RmsNormReference(args, s); }
  void ResidualNorm(const ResidualNormArgs& args, Stream& s) const override {
    ResidualNormReference(args, s);
  }
  void NormRopeWrite(const NormRopeWriteArgs& args, Stream& s) const override {
    NormRopeWriteReference(args, s);
  }
  void SiluMul(const SiluMulArgs& args, Stream& s) const override { SiluMulReference(args, s); }
  void Embedding(const EmbeddingArgs& args, Stream& s) const override {
    EmbeddingReference(args, s);
  }
  void Attention(const AttentionArgs& args, Stream& s) const override {
    AttentionReference(args, s);
  }
  void MoeRoute(const MoeRouteArgs& args, Stream& s) const override { MoeRouteReference(args, s); }
  void MoeCombine(const MoeCombineArgs& args, Stream& s) const override {
    MoeCombineReference(args, s);
  }
  void SumLogits(const SumLogitsArgs& args, Stream& s) const override {
    SumLogitsReference(args, s);
  }
  void Logprob(const LogprobArgs& args, Stream& s) const override { LogprobReference(args, s); }
  Status Sample(const SampleArgs& args, Stream& s) const override {
    SampleReference(args, s);
    return {};
  }
};

}  // namespace

std::unique_ptr<Backend> MakeReferenceBackend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace vexact
