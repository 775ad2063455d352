// The version of this program and of the engine in it.
#ifndef VEXACT_COMMON_VERSION_H_
#define VEXACT_COMMON_VERSION_H_

#include <string_view>

namespace vexact {

std::string_view EngineVersion();  // "0.1.0"

}  // namespace vexact

#endif  // VEXACT_COMMON_VERSION_H_
