// The linear operator of the Hopper backend. A prepared problem at a prepared number of rows runs
// on the fastest schedule that was proven then and there: an algorithm of cuBLASLt or a kernel of
// ours. Everything else runs on our chain kernel, which takes any shape. In mode variant what is
// proven wrong competes too, with splits of K and a workspace for them.
//
// A proof is one run on inputs that show another order of the sum (linear_proof_sm90.h), all words
// of which must equal the chain kernel's. What a library says about an algorithm is never enough:
// one that reports no split of K and has other bits was seen (`down` of Qwen3-1.7B at one row).
#ifndef VEXACT_KERNELS_LINEAR_LINEAR_SM90_H_
#define VEXACT_KERNELS_LINEAR_LINEAR_SM90_H_

#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/linear/linear.h"
#include "kernels/mode.h"

namespace vexact {

// What an algorithm of mode variant may keep partial sums in: Stream::workspace.
inline constexpr size_t kLinearWorkspaceBytes = size_t{32} << 20;

struct TimedSchedule {
  std::string name;  // empty: there was none
  double microseconds = std::numeric_limits<double>::infinity();
};

// What Prepare chose, and what it refused on the way, for people and tests to read.
struct LinearChoice {
  LinearProblem problem;
  int64_t rows = 0;
  std::string schedule;
  double microseconds = 0;  // as timed, weights not in the L2 cache
  bool is_canonical = true;
  std::vector<std::string> refused;  // schedules that have other bits
  TimedSchedule fastest_canonical;
  TimedSchedule fastest_free;  // of those with other bits, which only mode variant times
};

// Wrong schedules that Prepare is given among the others, so that a test sees the proof refuse
// them: LinearChoice::refused names "chain of m16n8k8" and one with "split-K".
struct LinearFaults {
  bool split_k = false;     // a library's algorithm with K in parts
  bool steps_of_8 = false;  // a chain of mma.sync.m16n8k8
};

// Any thread may call any member at any time; its current device is the one given to Create.
class LinearSm90 {
 public:
  // `cublaslt`: the library's file, or empty for the usual places. Without the library all
  // schedules are ours, and library() says so.
  static Result<std::unique_ptr<LinearSm90>> Create(int device, Mode mode,
                                                    const std::string& cublaslt = "");
  ~LinearSm90();

  // All problems at all numbers of rows; what is already prepared is kept. Waits for the device.
  // Allocates scratch for two outputs, the inputs and the weights of the largest problem, and frees
  // it. Errors: no memory for that; a kernel of ours whose bits differ, by problem and rows.
  Status Prepare(std::span<const LinearProblem> problems, std::span<const int64_t> rows,
                 LinearFaults faults = {});
  // An algorithm that needs a workspace runs on streams that have one. A weight's rows were
  // complete on the device before the call, not merely queued on `stream`.
  void Run(const LinearArgs& args, Stream& stream) const;

  std::vector<LinearChoice> Choices() const;  // by problem, then rows
  const std::string& library() const;         // version and file, or why there is none

 private:
  struct State;
  explicit LinearSm90(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace vexact

#endif  // VEXACT_KERNELS_LINEAR_LINEAR_SM90_H_
