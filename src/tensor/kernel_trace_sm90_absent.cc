// A build without CUDA.
#include "tensor/kernel_trace.h"

namespace vexact {

struct KernelTrace::State {};

Result<std::unique_ptr<KernelTrace>> KernelTrace::Start() {
  return Unsupported("a trace of kernels: expected a build with CUDA, this one has none");
}
KernelTrace::KernelTrace(std::unique_ptr<State> state) : state_(std::move(state)) {}
KernelTrace::~KernelTrace() = default;
uint64_t KernelTrace::Now() const { return 0; }
Result<std::vector<KernelRecord>> KernelTrace::Kernels(uint64_t /*begin_ns*/, uint64_t /*end_ns*/) {
  return std::vector<KernelRecord>();
}

}  // namespace vexact
