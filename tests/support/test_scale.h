// Sanitized builds run the same tests 5 to 30 times slower, so loops over random cases shrink
// there. So they do where VEXACT_FEW_CASES is set: under compute-sanitizer (tools/gpu_check).
#ifndef VEXACT_SUPPORT_TEST_SCALE_H_
#define VEXACT_SUPPORT_TEST_SCALE_H_

#include <algorithm>
#include <cstdlib>

namespace vexact {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// `cases` in a plain build; in a sanitized one a tenth of it, and at least `floor`:
//   for (int i = 0; i < ScaledCases(1000); ++i) { ... }
inline int ScaledCases(int cases, int floor = 1) {
  const bool few = kSanitized || std::getenv("VEXACT_FEW_CASES") != nullptr;
  return few ? std::max(cases / 10, floor) : cases;
}

}  // namespace vexact

#endif  // VEXACT_SUPPORT_TEST_SCALE_H_
