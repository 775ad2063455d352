// A weight as files hold it, and the two listings that produce such weights. Inside this folder;
// others use checkpoint.h.
#ifndef VEXACT_CHECKPOINT_FILE_TENSOR_H_
#define VEXACT_CHECKPOINT_FILE_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "checkpoint/gguf.h"
#include "checkpoint/mapped_file.h"
#include "checkpoint/model_config.h"
#include "tensor/dtype.h"

namespace vexact {

// What is said to users about one weight, under its Hugging Face name whatever the format.
struct TensorInfo {
  std::string name;  // "model.layers.0.self_attn.q_proj.weight"
  DType file_dtype = DType::kBf16;
  std::vector<int64_t> shape;  // outermost first; linear weights are [outputs, inputs]
  std::string file;            // path
  uint64_t file_bytes = 0;
  std::string conversion;  // what loading does to the words: "" (nothing), "f16 to bf16",
                           // "q4_1 to bf16, rotary rows reordered"
};

// Where its words lie.
struct TensorSource {
  std::shared_ptr<const MappedFile> file;
  std::span<const std::byte> data;
  bool unpermute_rotary_rows = false;
};

struct FileTensor {
  TensorInfo info;
  TensorSource source;
};

// All tensors of a parsed GGUF file, merged experts split into one tensor each; `gguf` views
// `file`. Names that no family here knows keep their own.
Result<std::vector<FileTensor>> ListGgufTensors(const GgufFile& gguf,
                                                const std::shared_ptr<const MappedFile>& file,
                                                const ModelConfig& config);

// All tensors of a directory's model.safetensors, else of model.safetensors.index.json's shards,
// whose tensors must be those that the index says.
Result<std::vector<FileTensor>> ListSafetensors(const std::string& directory);

// Sorts `tensors` by name and checks that they are exactly config's (expected_tensors.h); removes
// rotary inv_freq buffers and an lm_head.weight that repeats a tied embedding word for word.
// `path` is what the user named, for tensors that are missing.
Status CheckTensors(const ModelConfig& config, const std::string& path,
                    std::vector<FileTensor>& tensors);

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_FILE_TENSOR_H_
