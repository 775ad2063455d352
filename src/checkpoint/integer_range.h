#ifndef VEXACT_CHECKPOINT_INTEGER_RANGE_H_
#define VEXACT_CHECKPOINT_INTEGER_RANGE_H_

#include <cstdint>

namespace vexact {

// Both ends belong to it.
struct IntegerRange {
  int64_t min;
  int64_t max;
};

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_INTEGER_RANGE_H_
