// Rows<T>: a view of a row-major matrix; the shape travels with the pointer.
#ifndef VEXACT_TENSOR_ROWS_H_
#define VEXACT_TENSOR_ROWS_H_

#include <cstdint>
#include <type_traits>

#include "numerics/host_device.h"

namespace vexact {

// Does not own. `stride` is in elements and is at least `cols`.
template <typename T>
struct Rows {
  T* data = nullptr;  // [rows, cols], row r starts at data + r * stride
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  Rows() = default;
  VX_HOST_DEVICE Rows(T* data, int64_t rows, int64_t cols) : Rows(data, rows, cols, cols) {}
  VX_HOST_DEVICE Rows(T* data, int64_t rows, int64_t cols, int64_t stride)
      : data(data), rows(rows), cols(cols), stride(stride) {}

  VX_HOST_DEVICE T* operator[](int64_t r) const { return data + r * stride; }

  // Rows [begin, end), and columns [begin, end), of the same storage.
  VX_HOST_DEVICE Rows Slice(int64_t begin, int64_t end) const {
    return Rows(data + begin * stride, end - begin, cols, stride);
  }
  VX_HOST_DEVICE Rows Columns(int64_t begin, int64_t end) const {
    return Rows(data + begin, rows, end - begin, stride);
  }

  VX_HOST_DEVICE operator Rows<const T>() const  // NOLINT: implicit, like T* to const T*
      requires(!std::is_const_v<T>) {
    return Rows<const T>(data, rows, cols, stride);
  }
};

}  // namespace vexact

#endif  // VEXACT_TENSOR_ROWS_H_
