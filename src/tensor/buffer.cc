#include "tensor/buffer.h"

#include <cstdint>
#include <cstdlib>

namespace vexact {
namespace {

constexpr size_t kAlignment = 64;  // one cache line, one AVX-512 register

}  // namespace

Result<Buffer> AllocateHost(size_t bytes) {
  // calloc, because it takes large blocks as untouched zero pages and sanitizers guard its ends.
  void* const allocation =
      bytes > SIZE_MAX - kAlignment ? nullptr : std::calloc(bytes + kAlignment, 1);
  if (allocation == nullptr) {
    return MakeError(ErrorCode::kResourceExhausted, "host memory: {} bytes could not be allocated",
                     bytes);
  }
  const auto address = reinterpret_cast<uintptr_t>(allocation);
  const uintptr_t aligned = (address + kAlignment - 1) / kAlignment * kAlignment;
  return Buffer(static_cast<std::byte*>(allocation) + (aligned - address), bytes, allocation,
                std::free);
}

}  // namespace vexact
