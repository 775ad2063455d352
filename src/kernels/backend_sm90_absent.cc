// Stands for backend_sm90.cc in a build without CUDA.
#include "kernels/backend.h"

namespace vexact {

Result<std::unique_ptr<Backend>> MakeSm90Backend(Mode /*mode*/, AttentionKernels /*attention*/) {
  return Unsupported("device cuda: expected a program built with nvcc, found one built without");
}

}  // namespace vexact
