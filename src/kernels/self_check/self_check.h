// The self-check of a device: every operator on shapes at the edges of its kernels' tiles and on
// values at the corners of the arithmetic, every word compared with another backend's.
//
// Not taken on trust is the device, not the programmer: the operators' tests compare far more
// shapes. Both scopes hold the corners of dot16, all gates of silu, ex2 in integers and in fp32,
// the square root, and every operator.
#ifndef VEXACT_KERNELS_SELF_CHECK_SELF_CHECK_H_
#define VEXACT_KERNELS_SELF_CHECK_SELF_CHECK_H_

#include <functional>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/self_check/operator_call.h"

namespace vexact {

enum class SelfCheckScope {
  kShort,  // at the start of an engine
  kFull,   // vexact doctor
};

// One call of an operator.
struct SelfCheckCase {
  std::string op;     // "rms_norm"
  std::string shape;  // "3 rows of 2 x 128"
  bool in_short = true;
  std::function<Status(OperatorCall& call)> run;
  bool has_mask = false;  // for attention kernels that take others than the causal one
};
// By operator, in the order of backend.h.
std::vector<SelfCheckCase> SelfCheckCases();

struct SelfCheckResult {
  std::string op;
  std::string shape;
  uint64_t words = 0;
  uint64_t differing = 0;
  std::string first = {};     // "y, word 17: found 0x3f80, expected 0x3f81"; empty if none differs
  double milliseconds = 0.0;  // on both backends, inputs and comparison included
};

struct SelfCheckReport {
  std::vector<SelfCheckResult> results;

  // An error (kInternal) that names the first operator and shape with a difference, and how many
  // there are.
  Status status(std::string_view device) const;
};

// Errors: no memory; the device has failed. Differences are the report's.
Result<SelfCheckReport> RunSelfCheck(const Backend& device, const Backend& expected,
                                     SelfCheckScope scope, ThreadPool& pool);

// Parts of SelfCheckCases.
void AddLinearChecks(std::vector<SelfCheckCase>& cases);
void AddRowChecks(std::vector<SelfCheckCase>& cases);  // rms_norm to embedding
void AddAttentionChecks(std::vector<SelfCheckCase>& cases);
void AddMoeChecks(std::vector<SelfCheckCase>& cases);
void AddLogitChecks(std::vector<SelfCheckCase>& cases);  // sum_logits, logprob, sample

}  // namespace vexact

#endif  // VEXACT_KERNELS_SELF_CHECK_SELF_CHECK_H_
