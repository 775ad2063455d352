#include "kernels/mode.h"

namespace vexact {

std::string_view ModeName(Mode mode) { return mode == Mode::kInvariant ? "invariant" : "variant"; }

Result<Mode> ParseMode(std::string_view name) {
  for (const Mode mode : {Mode::kInvariant, Mode::kVariant}) {
    if (name == ModeName(mode)) return mode;
  }
  return InvalidArgument("mode: expected invariant or variant, found \"{}\"", name);
}

}  // namespace vexact
