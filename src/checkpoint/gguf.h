// Reading of GGUF files, versions 2 and 3 (github.com/ggml-org/ggml, docs/gguf.md): little-endian;
// header, metadata, tensor list, then tensor data at aligned offsets.
//
// Nothing is copied: metadata values and tensor data are views of the bytes, each checked to lie
// inside them, so that a file of n bytes costs less than a few n of memory whatever it claims.
#ifndef VEXACT_CHECKPOINT_GGUF_H_
#define VEXACT_CHECKPOINT_GGUF_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "checkpoint/integer_range.h"
#include "tensor/dtype.h"

namespace vexact {

// The numbers are the format's.
enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

struct GgufValue {
  GgufType type = GgufType::kUint8;  // of the elements, when is_array
  bool is_array = false;
  uint64_t count = 1;                  // elements
  std::span<const std::byte> payload;  // the elements; a string is a uint64 length and its bytes
};

struct GgufTensor {
  std::string name;  // the file's, "blk.0.attn_q.weight"
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;       // outermost first: the file's order reversed; 1 to 4 sizes
  std::span<const std::byte> data;  // row-major, whole blocks
};

// Key-value metadata with typed access; errors name file, key, expected and found.
class GgufMetadata {
 public:
  GgufMetadata(std::string file, std::map<std::string, GgufValue, std::less<>> values)
      : file_(std::move(file)), values_(std::move(values)) {}

  const std::string& file() const { return file_; }
  const std::map<std::string, GgufValue, std::less<>>& values() const { return values_; }

  // Any integer type of the format will do.
  Result<int64_t> Integer(std::string_view key, IntegerRange range) const;
  Result<std::optional<int64_t>> OptionalInteger(std::string_view key, IntegerRange range) const;
  Result<std::optional<float>> OptionalFloat(std::string_view key) const;  // fp32, finite
  Result<std::optional<bool>> OptionalBool(std::string_view key) const;
  Result<std::optional<std::string>> OptionalString(std::string_view key) const;
  // Empty when the key is absent.
  Result<std::vector<std::string>> Strings(std::string_view key) const;
  Result<std::vector<int32_t>> Integers(std::string_view key) const;  // int32 or uint32 in range
  Result<std::vector<float>> Floats(std::string_view key) const;

  Error Expected(std::string_view key, std::string_view expected) const;
  Error Refused(std::string_view key, std::string_view expected) const;

 private:
  const GgufValue* Find(std::string_view key) const;
  std::string Message(std::string_view key, std::string_view expected) const;

  std::string file_;
  std::map<std::string, GgufValue, std::less<>> values_;
};

struct GgufFile {
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;  // in file order
};

// `file` is for error messages; the result views `bytes`.
Result<GgufFile> ParseGguf(std::span<const std::byte> bytes, const std::string& file);

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_GGUF_H_
