// What choosing a schedule needs: candidates, their proofs and their times.
#ifndef VEXACT_KERNELS_LINEAR_LINEAR_PREPARE_SM90_H_
#define VEXACT_KERNELS_LINEAR_LINEAR_PREPARE_SM90_H_

#include <cuda_runtime.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/linear/cublaslt_sm90.h"
#include "kernels/linear/linear_sm90.h"

namespace vexact {

// One way to run a problem at a number of rows: a kernel of ours, or a library's algorithm.
struct LinearSchedule {
  std::string name;
  void (*kernel)(const LinearArgs&, Stream&) = nullptr;
  std::shared_ptr<const CublasLtMatmul> matmul;  // if there is no kernel
  CublasLtAlgorithm algorithm = {};
  bool is_faulty = false;  // wrong on purpose (LinearFaults): refusing it is no error
};

// False if the library refuses. Canonical schedules need no workspace, so that calls of mode
// invariant on several streams share nothing.
bool RunLinearSchedule(const LinearSchedule& schedule, const LinearArgs& args,
                       const CublasLtWorkspace& workspace, Stream& stream);

// Inputs, weights and the chain kernel's outputs of one problem, on the device, at `max_rows` rows;
// fewer rows are the first of them.
class LinearProver {
 public:
  static Result<std::unique_ptr<LinearProver>> Create(const LinearProblem& problem,
                                                      int64_t max_rows);

  // Requires: CountDifferences ran the schedule at these rows, so that its code is loaded.
  // Microseconds a call, in a graph of calls whose weights are not in the L2 cache, each with a
  // small kernel of ours behind it, as in a layer: one that starts while the kernel ahead drains,
  // and lets the next one start, is faster there than alone. None if the schedule does not run.
  Result<std::optional<double>> Time(const LinearSchedule& schedule, int64_t rows);
  // How many words differ from the chain kernel's; none if the schedule does not run.
  Result<std::optional<uint64_t>> CountDifferences(const LinearSchedule& schedule, int64_t rows);

 private:
  struct DeviceFree {
    void operator()(void* data) const { cudaFree(data); }
  };
  using DeviceMemory = std::unique_ptr<void, DeviceFree>;
  using OwnedCudaStream = std::unique_ptr<CUstream_st, cudaError_t (*)(cudaStream_t)>;

  LinearProver(const LinearProblem& problem, int64_t max_rows);
  Status Allocate(size_t bytes, DeviceMemory* memory);
  Status AllocateAll();
  Status ComputeReference();
  LinearArgs Args(int64_t rows, int weight_copy, void* y) const;
  CublasLtWorkspace WorkspaceOf(const LinearSchedule& schedule) const;
  int CallsToTime(int64_t rows) const;

  LinearProblem problem_;
  int64_t max_rows_;
  int64_t stride_;  // of x and the weights
  OwnedCudaStream queue_{nullptr, cudaStreamDestroy};
  Stream stream_;
  DeviceMemory x_;
  DeviceMemory bias_;
  DeviceMemory weights_;
  DeviceMemory reference_;
  DeviceMemory y_;
  DeviceMemory differences_;
  DeviceMemory workspace_;
  std::vector<LinearWeight> copies_;
};

// What may run a problem at a number of rows; `library` may be none. Kernels of ours last, the
// chain kernel at the very end. In mode variant algorithms that split K are among them.
Result<std::vector<LinearSchedule>> LinearCandidates(const CublasLt* library,
                                                     const CublasLtShape& shape, Mode mode,
                                                     LinearFaults faults);

}  // namespace vexact

#endif  // VEXACT_KERNELS_LINEAR_LINEAR_PREPARE_SM90_H_
