#include "checkpoint/bf16_tensor.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"

namespace vexact {
namespace {

static_assert(std::endian::native == std::endian::little, "weights are read as they lie in files");

template <typename T>
T LoadAs(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

float LoadF16(const std::byte* from) { return FloatFromF16(LoadAs<uint16_t>(from)); }

constexpr int kBlock = 32;  // elements of a block of every quantised type here

void ConvertQ8Block(const std::byte* block, bf16* dst) {
  const float d = LoadF16(block);
  for (int i = 0; i < kBlock; ++i) {
    const auto q = static_cast<float>(std::to_integer<int8_t>(block[2 + i]));
    dst[i] = Bf16FromFloat(d * q);
  }
}

// A byte holds element i in its low and element i + 16 in its high four bits; `values` are the
// 16 weights that this block can hold.
void LookUpNibbles(const std::byte* nibbles, const bf16 (&values)[16], bf16* dst) {
  for (int i = 0; i < kBlock / 2; ++i) {
    const auto byte = std::to_integer<uint8_t>(nibbles[i]);
    dst[i] = values[byte & 15];
    dst[i + kBlock / 2] = values[byte >> 4];
  }
}

void ConvertQ4_0Block(const std::byte* block, bf16* dst) {
  const float d = LoadF16(block);
  bf16 values[16];
  for (int q = 0; q < 16; ++q) values[q] = Bf16FromFloat(d * static_cast<float>(q - 8));
  LookUpNibbles(block + 2, values, dst);
}

void ConvertQ4_1Block(const std::byte* block, bf16* dst) {
  const float d = LoadF16(block);
  const float m = LoadF16(block + 2);
  bf16 values[16];
  for (int q = 0; q < 16; ++q) {
    const float scaled = d * static_cast<float>(q);
    values[q] = Bf16FromFloat(scaled + m);
  }
  LookUpNibbles(block + 4, values, dst);
}

}  // namespace

float FloatFromF16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 31u;
  const uint32_t mantissa = bits & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) {
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  }
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // exact
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

void ConvertToBf16(DType dtype, std::span<const std::byte> src, std::span<bf16> dst) {
  const DTypeLayout layout = LayoutOf(dtype);
  const size_t blocks = dst.size() / layout.block_elements;
  VX_CHECK(blocks * layout.block_elements == dst.size(), "whole blocks");
  VX_CHECK(blocks * layout.block_bytes == src.size(), "as many elements in src as in dst");
  switch (dtype) {
    case DType::kBf16:
      if (!src.empty()) std::memcpy(dst.data(), src.data(), src.size());
      return;
    case DType::kF16:
      for (size_t i = 0; i < blocks; ++i) dst[i] = Bf16FromFloat(LoadF16(&src[i * 2]));
      return;
    case DType::kF32:
      for (size_t i = 0; i < blocks; ++i) dst[i] = Bf16FromFloat(LoadAs<float>(&src[i * 4]));
      return;
    case DType::kQ8_0:
      for (size_t i = 0; i < blocks; ++i) ConvertQ8Block(&src[i * 34], &dst[i * kBlock]);
      return;
    case DType::kQ4_0:
      for (size_t i = 0; i < blocks; ++i) ConvertQ4_0Block(&src[i * 18], &dst[i * kBlock]);
      return;
    case DType::kQ4_1:
      for (size_t i = 0; i < blocks; ++i) ConvertQ4_1Block(&src[i * 20], &dst[i * kBlock]);
      return;
  }
}

void UnpermuteRotaryRows(std::span<const bf16> src, int64_t head_dim, int64_t cols,
                         std::span<bf16> dst) {
  VX_CHECK(src.size() == dst.size());
  VX_CHECK(head_dim % 2 == 0 && src.size() % (head_dim * cols) == 0);
  const int64_t rows = static_cast<int64_t>(src.size()) / cols;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t head = row / head_dim;
    const int64_t in_head = row % head_dim;
    const int64_t to = head * head_dim + in_head / 2 + (in_head % 2) * (head_dim / 2);
    std::copy_n(&src[row * cols], cols, &dst[to * cols]);
  }
}

}  // namespace vexact
