// A device backend behind host memory: every operator's arguments are copied to the device, the
// operator runs, and what it may write is copied back. So a test written for host arrays runs on a
// GPU as it is, strides, alignment and poison around its matrices included.
#ifndef VEXACT_SUPPORT_STAGED_BACKEND_H_
#define VEXACT_SUPPORT_STAGED_BACKEND_H_

#include <memory>

#include "kernels/backend.h"

namespace vexact {

std::unique_ptr<Backend> MakeStagedBackend(std::shared_ptr<const Backend> device);

}  // namespace vexact

#endif  // VEXACT_SUPPORT_STAGED_BACKEND_H_
