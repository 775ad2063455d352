// Checkpoint: files -> named bf16 weights.
//
//   VX_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open("SmolLM2.Q4_1.gguf"));
//   VX_ASSIGN_OR_RETURN(const Bf16Tensor norm, checkpoint.Load("model.norm.weight"));
#ifndef VEXACT_CHECKPOINT_CHECKPOINT_H_
#define VEXACT_CHECKPOINT_CHECKPOINT_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "checkpoint/bf16_tensor.h"
#include "checkpoint/file_tensor.h"
#include "checkpoint/gguf_config.h"
#include "checkpoint/model_config.h"

namespace vexact {

// Paths of a Hugging Face directory's tokenizer files; empty for those it does not have.
struct HfTokenizerFiles {
  std::string tokenizer_json;
  std::string tokenizer_config_json;
};

// Immutable after Open: any thread may call any method. Tensors keep their file mapped, so they may
// outlive the Checkpoint.
class Checkpoint {
 public:
  // `path` is a directory (config.json, perhaps generation_config.json; model.safetensors, or
  // model.safetensors.index.json and its shards) or a GGUF file. Succeeds when the tensors are
  // exactly those that the config asks for (expected_tensors.h) with their shapes; rotary inv_freq
  // buffers, and an lm_head.weight that repeats a tied embedding word for word, are passed over.
  // No other tensor data is read. Errors name file, tensor or field, expected and found.
  static Result<Checkpoint> Open(const std::string& path);

  // The model that the directory's config.json describes, with generated weights
  // (dummy_tensors.h); generation_config.json and the tokenizer's files count where they are there,
  // weights are not looked at. `pool` generates large tensors and outlives the checkpoint; null:
  // the thread that loads does.
  static Result<Checkpoint> OpenDummy(const std::string& path, int64_t seed, ThreadPool* pool);

  const ModelConfig& config() const { return config_; }
  std::span<const TensorInfo> tensors() const { return tensors_; }  // ascending by name

  // Paths of the files that decide the words of the tensors, ascending: config.json and the weight
  // files, or the GGUF file.
  std::vector<std::string> files() const;
  std::optional<int64_t> dummy_seed() const;  // of generated weights

  // The tensor's bf16 words: a view of the mapping where the file's words are used as they are and
  // are aligned for bf16, else a converted or generated copy, made anew at every call
  // (docs/numerics.md, weights). Errors: kNotFound; kResourceExhausted.
  // With tie_word_embeddings there is no "lm_head.weight".
  Result<Bf16Tensor> Load(std::string_view hf_name) const;

  // Exactly one of these two is present.
  const std::optional<GgufTokenizer>& gguf_tokenizer() const { return gguf_tokenizer_; }
  const std::optional<HfTokenizerFiles>& hf_tokenizer_files() const { return hf_tokenizer_files_; }

 private:
  struct DummySource {
    int64_t seed = 0;
    ThreadPool* pool = nullptr;
  };

  Checkpoint(ModelConfig config, std::string path, std::vector<FileTensor> tensors);
  Result<Bf16Tensor> Convert(const TensorInfo& info, const TensorSource& source) const;
  Result<Bf16Tensor> Generate(const TensorInfo& info, const DummySource& source) const;
  static Result<Checkpoint> OpenGguf(const std::string& path);
  static Result<Checkpoint> OpenDirectory(const std::string& path);

  ModelConfig config_;
  std::string path_;
  std::vector<TensorInfo> tensors_;    // ascending by name
  std::vector<TensorSource> sources_;  // of tensors_; empty where they are generated
  std::optional<DummySource> dummy_;
  std::optional<GgufTokenizer> gguf_tokenizer_;
  std::optional<HfTokenizerFiles> hf_tokenizer_files_;
};

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_CHECKPOINT_H_
