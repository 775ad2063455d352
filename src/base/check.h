// CHECK: a caller broke a contract of this program. It prints where and aborts; it is never used
// for what the outside world can cause (files, requests, memory): that is Result (result.h).
#ifndef VEXACT_BASE_CHECK_H_
#define VEXACT_BASE_CHECK_H_

#include <string_view>

namespace vexact {

[[noreturn]] void CheckFailed(const char* file, int line, std::string_view condition,
                              std::string_view detail);

}  // namespace vexact

// VX_CHECK(condition) or VX_CHECK(condition, "what was expected"). Active in every build.
#define VX_CHECK(condition, ...) \
  (static_cast<bool>(condition)  \
       ? static_cast<void>(0)    \
       : ::vexact::CheckFailed(__FILE__, __LINE__, #condition, std::string_view{__VA_ARGS__}))

#endif  // VEXACT_BASE_CHECK_H_
