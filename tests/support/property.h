// A rapidcheck property as a gtest expectation:  EXPECT_TRUE(Holds(ScaledCases(100), [] { ... }));
//
// rc::check returns a bool that is easily dropped, and takes the number of cases from the
// environment alone.
#ifndef VEXACT_SUPPORT_PROPERTY_H_
#define VEXACT_SUPPORT_PROPERTY_H_

#include <rapidcheck.h>

#include <cstdint>
#include <iostream>
#include <utility>

namespace vexact {

// Whether `property` held in `cases` random cases. If not, stderr says with which values, shrunk,
// and how to repeat them (RC_PARAMS).
template <typename Property>
[[nodiscard]] bool Holds(int cases, Property&& property) {
  rc::detail::TestParams params = rc::detail::configuration().testParams;
  params.maxSuccess = cases;
  const rc::detail::TestResult result = rc::detail::checkTestable(
      std::forward<Property>(property), rc::detail::TestMetadata(), params);
  rc::detail::printResultMessage(result, std::cerr);
  std::cerr << '\n';
  return result.is<rc::detail::SuccessResult>();
}

// Uniform in [low, high] in every case; rapidcheck's own ranges are narrow in the first ones.
inline int32_t Between(int32_t low, int32_t high) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<int32_t>(low, high + 1));
}

inline bool OneIn(int32_t n) { return Between(1, n) == n; }

}  // namespace vexact

#endif  // VEXACT_SUPPORT_PROPERTY_H_
