#include "tensor/buffer.h"

#include <cstdlib>
#include <cstring>

namespace vexact {
namespace {

constexpr size_t kAlignment = 64;  // one cache line, one AVX-512 register

}  // namespace

Result<Buffer> AllocateHost(size_t bytes) {
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  auto* data = rounded < bytes ? nullptr
                               : static_cast<std::byte*>(std::aligned_alloc(
                                     kAlignment, rounded == 0 ? kAlignment : rounded));
  if (data == nullptr) {
    return MakeError(ErrorCode::kResourceExhausted, "host memory: {} bytes could not be allocated",
                     bytes);
  }
  std::memset(data, 0, rounded);
  return Buffer(data, bytes, [](std::byte* p) { std::free(p); });
}

}  // namespace vexact
