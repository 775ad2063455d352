// The floating-point environment that the canonical arithmetic needs: round to nearest even, no
// flush-to-zero, no denormals-are-zero (docs/numerics.md, Notation).
#ifndef VEXACT_BASE_FLOAT_ENVIRONMENT_H_
#define VEXACT_BASE_FLOAT_ENVIRONMENT_H_

#include <cstdint>

namespace vexact {

// Sets the environment for the calling thread and restores the host's at the end of its scope.
// Every thread that computes holds one: ThreadPool does for its callers and its workers.
class ScopedFloatEnvironment {
 public:
  ScopedFloatEnvironment();
  ~ScopedFloatEnvironment();
  ScopedFloatEnvironment(const ScopedFloatEnvironment&) = delete;
  ScopedFloatEnvironment& operator=(const ScopedFloatEnvironment&) = delete;

 private:
  uint64_t saved_;
};

}  // namespace vexact

#endif  // VEXACT_BASE_FLOAT_ENVIRONMENT_H_
