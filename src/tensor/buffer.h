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
  using Free = void (*)(std::byte*);

  Buffer() : data_(nullptr, nullptr) {}
  Buffer(std::byte* data, size_t bytes, Free free) : data_(data, free), bytes_(bytes) {}

  std::byte* data() const { return data_.get(); }
  size_t bytes() const { return bytes_; }

  // The whole buffer as elements of T.
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_.get());
  }

 private:
  std::unique_ptr<std::byte, Free> data_;
  size_t bytes_ = 0;
};

// Zero-filled host memory. kResourceExhausted names the bytes that could not be had.
Result<Buffer> AllocateHost(size_t bytes);

}  // namespace vexact

#endif  // VEXACT_TENSOR_BUFFER_H_
