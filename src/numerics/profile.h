// The name of the arithmetic (docs/numerics.md). Any change of bits is another name.
#ifndef VEXACT_NUMERICS_PROFILE_H_
#define VEXACT_NUMERICS_PROFILE_H_

#include <string_view>

namespace vexact {

inline constexpr std::string_view kNumericsProfile = "sm90";

}  // namespace vexact

#endif  // VEXACT_NUMERICS_PROFILE_H_
