// Backend: the device, chosen once at load. One line for each operator; its contract is its header.
#ifndef VEXACT_KERNELS_BACKEND_H_
#define VEXACT_KERNELS_BACKEND_H_

#include <memory>
#include <string_view>

#include "kernels/attention/attention.h"
#include "kernels/embedding/embedding.h"
#include "kernels/kv_write/kv_write.h"
#include "kernels/linear/linear.h"
#include "kernels/logprob/logprob.h"
#include "kernels/moe/moe.h"
#include "kernels/residual/residual.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rope/rope.h"
#include "kernels/sampling/sampling.h"
#include "kernels/silu_mul/silu_mul.h"
#include "kernels/simd/cpu_target.h"

namespace vexact {

// Every backend gives the same bits for every operator (docs/numerics.md). Stateless: any thread
// may call any operator at any time.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  virtual Result<Buffer> Allocate(size_t bytes) const = 0;
  virtual Result<LinearWeight> PackLinear(Rows<const bf16> rows) const = 0;

  virtual void Linear(const LinearArgs& args, Stream& stream) const = 0;
  virtual void RmsNorm(const RmsNormArgs& args, Stream& stream) const = 0;
  virtual void Rope(const RopeArgs& args, Stream& stream) const = 0;
  virtual void SiluMul(const SiluMulArgs& args, Stream& stream) const = 0;
  virtual void Residual(const ResidualArgs& args, Stream& stream) const = 0;
  virtual void Embedding(const EmbeddingArgs& args, Stream& stream) const = 0;
  virtual void KvWrite(const KvWriteArgs& args, Stream& stream) const = 0;
  virtual void Attention(const AttentionArgs& args, Stream& stream) const = 0;
  virtual void MoeRoute(const MoeRouteArgs& args, Stream& stream) const = 0;
  virtual void MoeCombine(const MoeCombineArgs& args, Stream& stream) const = 0;
  virtual void SumLogits(const SumLogitsArgs& args, Stream& stream) const = 0;
  virtual void Logprob(const LogprobArgs& args, Stream& stream) const = 0;
  virtual void Sample(const SampleArgs& args, Stream& stream) const = 0;
};

// The plain functions of numerics.md: slow, the measure of every other backend.
std::unique_ptr<Backend> MakeReferenceBackend();
// SIMD (AVX-512, AVX2 with FMA, or scalar: chosen at run time, the bits are the same).
std::unique_ptr<Backend> MakeCpuBackend();
// The same on one of SupportedCpuTargets(): for tests and benchmarks.
std::unique_ptr<Backend> MakeCpuBackend(CpuTarget target);

}  // namespace vexact

#endif  // VEXACT_KERNELS_BACKEND_H_
