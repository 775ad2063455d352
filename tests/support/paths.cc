#include "support/paths.h"

namespace vexact {

std::string SourceDir() { return VEXACT_SOURCE_DIR; }
std::string BinaryDir() { return VEXACT_BINARY_DIR; }

}  // namespace vexact
