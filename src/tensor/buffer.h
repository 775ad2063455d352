// Buffer: an owned piece of a backend's memory.
#ifndef VEXACT_TENSOR_BUFFER_H_
#define VEXACT_TENSOR_BUFFER_H_

#include <cstddef>
#include <memory>

#include "base/result.h"

namespace vexact {

// Movable, not copyable. Aligned to 64 bytes or better.
class Buffer {
 public:
  using Free = void (*)(void*);

  Buffer() : allocation_(nullptr, nullptr) {}
  // `data` lies in `allocation`, which `free` gives back.
  Buffer(std::byte* data, size_t bytes, void* allocation, Free free)
      : allocation_(allocation, free), data_(data), bytes_(bytes) {}

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

  // The whole buffer as elements of T.
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::unique_ptr<void, Free> allocation_;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// Zero-filled host memory, whose pages cost nothing until they are written: a KV pool may be
// larger than what is used of it. kResourceExhausted names the bytes that could not be had.
Result<Buffer> AllocateHost(size_t bytes);

}  // namespace vexact

#endif  // VEXACT_TENSOR_BUFFER_H_
