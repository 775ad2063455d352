// Writes GGUF files for tests: small ones by hand, and any checkpoint in another dress, as
// llama.cpp's converter would (q and k rows permuted for architecture llama, experts merged).
#ifndef VEXACT_TESTS_SUPPORT_GGUF_WRITER_H_
#define VEXACT_TESTS_SUPPORT_GGUF_WRITER_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "numerics/bf16.h"

namespace vexact {

// Type numbers of the format, for tensors.
inline constexpr uint32_t kGgufF32 = 0;
inline constexpr uint32_t kGgufF16 = 1;
inline constexpr uint32_t kGgufQ4_0 = 2;
inline constexpr uint32_t kGgufQ4_1 = 3;
inline constexpr uint32_t kGgufQ8_0 = 8;
inline constexpr uint32_t kGgufQ6K = 14;
inline constexpr uint32_t kGgufBf16 = 30;

// The object's bytes, as they lie in memory.
template <typename T>
std::string BytesOf(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
}

class GgufWriter {
 public:
  uint32_t version = 3;
  uint64_t alignment = 32;

  // A later value replaces an earlier one of the same key.
  void SetUint32(std::string_view key, uint32_t value);
  void SetFloat32(std::string_view key, float value);
  void SetBool(std::string_view key, bool value);
  void SetString(std::string_view key, std::string_view value);
  void SetStrings(std::string_view key, const std::vector<std::string>& values);
  void SetInt32s(std::string_view key, const std::vector<int32_t>& values);
  void SetFloat32s(std::string_view key, const std::vector<float>& values);
  // `value` is everything after the type number.
  void SetRaw(std::string_view key, uint32_t type, std::string value);
  void Remove(std::string_view key);

  struct Tensor {
    std::string name;
    uint32_t type = kGgufF32;
    std::vector<int64_t> shape;  // outermost first
    std::string data;
    int64_t offset = -1;  // -1: after the tensor before, aligned
  };
  std::vector<Tensor>& tensors() { return tensors_; }
  Tensor& TensorNamed(std::string_view name);  // must exist

  std::string Bytes() const;

 private:
  struct Value {
    std::string key;
    uint32_t type;
    std::string bytes;
  };
  std::vector<Value> values_;
  std::vector<Tensor> tensors_;
};

// `words` as the bytes of a tensor of `type`: kGgufF32 and kGgufBf16 exactly, kGgufF16 rounded to
// nearest even, kGgufQ8_0, kGgufQ4_0 and kGgufQ4_1 by the format's usual quantisation.
std::string EncodeGguf(uint32_t type, std::span<const bf16> words);

// The nearest binary16, ties to even, overflow to infinity. Requires: x is not NaN.
uint16_t F16FromFloat(float x);

// A GGUF file of the checkpoint's model: matrices in `matrix_type`, norms and biases in F32. Rope
// scaling is left out, and so is the tokenizer except the special ids.
GgufWriter GgufFromCheckpoint(const Checkpoint& checkpoint, uint32_t matrix_type);

}  // namespace vexact

#endif  // VEXACT_TESTS_SUPPORT_GGUF_WRITER_H_
