// Reading of safetensors files (github.com/huggingface/safetensors): a uint64 header size, a JSON
// header of name -> dtype, shape, data_offsets, then the tensors' bytes without holes.
#ifndef VEXACT_CHECKPOINT_SAFETENSORS_H_
#define VEXACT_CHECKPOINT_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace vexact {

struct SafetensorsTensor {
  std::string name;
  DType dtype = DType::kBf16;       // kBf16, kF16 or kF32
  std::vector<int64_t> shape;       // outermost first
  std::span<const std::byte> data;  // row-major; any alignment
};

// The tensors, in the header's (alphabetical) order; the result views `bytes`. `file` is for error
// messages. Refuses other dtypes by name, overlaps, holes and bytes left over.
Result<std::vector<SafetensorsTensor>> ParseSafetensors(std::span<const std::byte> bytes,
                                                        const std::string& file);

// One entry of model.safetensors.index.json's weight_map.
struct ShardEntry {
  std::string tensor;
  std::string file;  // a plain name, in the index's directory
};

// Ascending by tensor name.
Result<std::vector<ShardEntry>> ParseSafetensorsIndex(std::string_view text,
                                                      const std::string& file);

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_SAFETENSORS_H_
