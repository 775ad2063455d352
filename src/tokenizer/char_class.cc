#include "tokenizer/char_class.h"

#include <algorithm>
#include <span>

namespace vexact {

uint8_t ClassOfNonAscii(char32_t code_point) {
  const std::span<const CharClassRun> runs = CharClassRuns();
  const auto after =
      std::upper_bound(runs.begin(), runs.end(), code_point,
                       [](char32_t value, const CharClassRun& run) { return value < run.first; });
  return (after - 1)->classes;
}

}  // namespace vexact
