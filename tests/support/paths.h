// Where tests find the tree and what was built of it. Only paths.cc is compiled with the names of
// folders, so that a clone in another folder shares the compiler's cache.
#ifndef VEXACT_SUPPORT_PATHS_H_
#define VEXACT_SUPPORT_PATHS_H_

#include <string>

namespace vexact {

std::string SourceDir();
std::string BinaryDir();

}  // namespace vexact

#endif  // VEXACT_SUPPORT_PATHS_H_
