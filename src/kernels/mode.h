// Mode: what a backend promises about bits. A backend is made for one mode and an engine has its
// model's, so that engines of both modes live in one process.
#ifndef VEXACT_KERNELS_MODE_H_
#define VEXACT_KERNELS_MODE_H_

#include <string_view>

#include "base/result.h"

namespace vexact {

enum class Mode {
  kInvariant,  // every operator has the bits of its reference (docs/numerics.md)
  kVariant,    // whatever is fastest: bits may depend on the batch, the threads and the day
};

std::string_view ModeName(Mode mode);  // "invariant", "variant"

// An error lists the names and says what was found.
Result<Mode> ParseMode(std::string_view name);

}  // namespace vexact

#endif  // VEXACT_KERNELS_MODE_H_
