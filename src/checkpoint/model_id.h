// Names of a model's weights and tokenizer by content: SHA-256 in 64 hexadecimal digits. Receipts
// hold them, so that a result is replayed by the model that made it or not at all.
#ifndef VEXACT_CHECKPOINT_MODEL_ID_H_
#define VEXACT_CHECKPOINT_MODEL_ID_H_

#include <string>

#include "base/result.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"

namespace vexact {

// A tree over the weights as they are loaded, so that every file format of the same words has the
// same id. Integers are little-endian:
//   piece i   SHA-256 of the tensor's bf16 words [i * 2^20, (i + 1) * 2^20), row-major
//   tensor    SHA-256 of: u64 length of its Hugging Face name, the name, u64 number of dimensions,
//             each size as u64 (outermost first), its pieces' digests
//   id        SHA-256 of the tensors' digests, ascending by name
// Reads every weight once: about 0.5 s a GB and core with SHA instructions.
Result<std::string> WeightsId(const Checkpoint& checkpoint, ThreadPool& pool);

// The same, remembered in `cache_folder` (made if it is missing) for as long as the checkpoint's
// files have the same paths, sizes, times of modification and inodes. A folder that cannot be read
// or written costs time only.
Result<std::string> CachedWeightsId(const Checkpoint& checkpoint, const std::string& cache_folder,
                                    ThreadPool& pool);

// Over what the tokenizer is made of: the bytes of tokenizer.json and tokenizer_config.json, or
// GGUF's tokenizer fields but its chat template. "" if there is no tokenizer.
Result<std::string> TokenizerId(const Checkpoint& checkpoint);

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_MODEL_ID_H_
