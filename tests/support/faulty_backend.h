// Backends that differ from the CPU's on purpose: operators that are wrong, for the tests of the
// self-check, and memory like a device's.
#ifndef VEXACT_SUPPORT_FAULTY_BACKEND_H_
#define VEXACT_SUPPORT_FAULTY_BACKEND_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace vexact {

template <typename Args>
using OperatorHook = std::function<void(const Args&, Stream&)>;

// What takes the place of an operator of the CPU; empty: nothing does.
struct OperatorHooks {
  OperatorHook<LinearArgs> linear = {};  // weights are row-major, in LinearWeight::storage
  OperatorHook<RmsNormArgs> rms_norm = {};
  OperatorHook<ResidualNormArgs> residual_norm = {};
  OperatorHook<NormRopeWriteArgs> norm_rope_write = {};
  OperatorHook<SiluMulArgs> silu_mul = {};
  OperatorHook<EmbeddingArgs> embedding = {};
  OperatorHook<AttentionArgs> attention = {};
  OperatorHook<MoeRouteArgs> moe_route = {};
  OperatorHook<MoeCombineArgs> moe_combine = {};
  OperatorHook<SumLogitsArgs> sum_logits = {};
  OperatorHook<LogprobArgs> logprob = {};
  OperatorHook<SampleArgs> sample = {};
  // Above 0: the backend has memory apart from the host's, of so many bytes, for all Allocate
  // gives.
  int64_t device_bytes = 0;
  std::function<const char*()> device_error = {};  // of each step; null: none
  // Not empty: the backend records work, if this allows it, but replays nothing.
  std::function<Status()> capture = {};
};
std::unique_ptr<Backend> MakeHookedBackend(OperatorHooks hooks);

struct FaultyBackend {
  std::string op;     // that has the fault
  std::string fault;  // "steps of 8"
  std::shared_ptr<const Backend> backend;
};
// For each operator, one flipped bit in the last word of its first output.
std::vector<FaultyBackend> BackendsWithAFlippedBit();
// Another arithmetic, order or rule in one operator: what wrong hardware or a wrong kernel does.
std::vector<FaultyBackend> BackendsWithAnotherArithmetic();

}  // namespace vexact

#endif  // VEXACT_SUPPORT_FAULTY_BACKEND_H_
