// A rapidcheck property as a gtest expectation:  EXPECT_TRUE(Holds(ScaledCases(100), [] { ... }));
//
// rc::check returns a bool that is easily dropped, and takes the number of cases from the
// environment alone.
#ifndef VEXACT_SUPPORT_PROPERTY_H_
#define VEXACT_SUPPORT_PROPERTY_H_

#include <rapidcheck.h>

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

}  // namespace vexact

#endif  // VEXACT_SUPPORT_PROPERTY_H_
