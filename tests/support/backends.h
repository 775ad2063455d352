// Every backend that this machine can run, for tests that loop over all of them.
#ifndef VEXACT_SUPPORT_BACKENDS_H_
#define VEXACT_SUPPORT_BACKENDS_H_

#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace vexact {

struct NamedBackend {
  std::string name;  // unique: "reference", ...
  std::shared_ptr<const Backend> backend;
};

// The reference first; their operators take host arrays, a GPU's by copies (staged_backend.h).
std::vector<NamedBackend> AllBackends();
// The same and, on a GPU, its backends with other canonical attention kernels.
std::vector<NamedBackend> AttentionBackends();
// With the portable attention kernels, for host arrays; null without a GPU.
std::shared_ptr<const Backend> CuteBackend(Mode mode);
// Those that engines run on, with memory of their own: the CPU's best, and the GPU if there is one.
std::vector<NamedBackend> AllDevices();
// The GPU if there is one, else the CPU: for tests of whole engines.
std::shared_ptr<const Backend> BestDevice(Mode mode = Mode::kInvariant,
                                          AttentionKernels attention = AttentionKernels::kFa);

// A stream that owns its pool.
struct TestStream {
  explicit TestStream(int num_threads)
      : pool(ThreadPool::Create(num_threads).value()), stream{&pool} {}
  ThreadPool pool;
  Stream stream;
};

}  // namespace vexact

#endif  // VEXACT_SUPPORT_BACKENDS_H_
