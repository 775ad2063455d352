// When each kernel of the GPU began and ended, those inside recorded graphs too, as CUPTI tells
// (opened at run time; events of the CUDA runtime cannot see inside graphs). Costs a few percent of
// a run's time.
#ifndef VEXACT_TENSOR_KERNEL_TRACE_H_
#define VEXACT_TENSOR_KERNEL_TRACE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace vexact {

// Nanoseconds are of KernelTrace::Now's clock.
struct KernelRecord {
  std::string name;  // as the linker knows it
  uint64_t begin_ns = 0;
  uint64_t end_ns = 0;
  uint32_t stream = 0;
  uint32_t launch = 0;  // kernels of one launch of a graph share this
};

class KernelTrace {
 public:
  // At most one of a process at a time, begun before the first use of the CUDA runtime: graphs that
  // are older show no kernels. kNotFound names where CUPTI was looked for; kUnsupported: without a
  // GPU.
  static Result<std::unique_ptr<KernelTrace>> Start();
  ~KernelTrace();

  uint64_t Now() const;
  // Kernels that ended in [begin_ns, end_ns), in the order of their begin. Requires: the device is
  // idle. kInternal: some were lost.
  Result<std::vector<KernelRecord>> Kernels(uint64_t begin_ns, uint64_t end_ns);

 private:
  struct State;
  explicit KernelTrace(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace vexact

#endif  // VEXACT_TENSOR_KERNEL_TRACE_H_
