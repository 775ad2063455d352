#include "common/version.h"

namespace vexact {

std::string_view EngineVersion() { return VEXACT_VERSION; }

}  // namespace vexact
