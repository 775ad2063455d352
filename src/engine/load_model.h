// From a path to what an engine needs: the model on a backend, its tokenizer and chat template.
#ifndef VEXACT_ENGINE_LOAD_MODEL_H_
#define VEXACT_ENGINE_LOAD_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "chat/chat_template.h"
#include "checkpoint/checkpoint.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

namespace vexact {

// "cpu"; "cuda": the first GPU, which must be one whose arithmetic is proven and must pass the
// self-check here and now (in mode variant too: what stays unprepared runs on the canonical
// kernels, and a broken card is broken in every mode); "auto": the GPU, or the CPU if there is no
// driver, no GPU or one of another generation. `attention`: the kernels that a GPU's backend is
// made with; where mode variant runs a free form of them, the self-check is that of their canonical
// form, the same code but for it. A GPU that fails in any other way, its self-check included, is an
// error for "auto" too: falling back would hide a broken card behind a slow answer, and "cpu" is
// one word away. Errors name what was found.
Result<std::shared_ptr<const Backend>> MakeBackend(
    std::string_view device, Mode mode = Mode::kInvariant,
    AttentionKernels attention = AttentionKernels::kFa);

// The same without the self-check: for who looks into a device that may fail it.
Result<std::shared_ptr<const Backend>> OpenBackend(
    std::string_view device, Mode mode = Mode::kInvariant,
    AttentionKernels attention = AttentionKernels::kFa);

// The short self-check of a device against the CPU. The error (kInternal) names the first operator
// and shape with a differing bit.
Status CheckDevice(const Backend& device);

enum class LoadFormat {
  kAuto,   // the weights of a Hugging Face directory or a GGUF file
  kDummy,  // weights generated for a directory's config.json (checkpoint/dummy_tensors.h)
};

// "auto" or "dummy"; an error names what was found.
Result<LoadFormat> ParseLoadFormat(std::string_view name);

// Where a model comes from.
struct ModelSource {
  std::string path;  // a directory or a GGUF file
  LoadFormat load_format = LoadFormat::kAuto;
  int64_t dummy_seed = 0;  // of kDummy's weights
};

// `pool` makes dummy weights and outlives the checkpoint; null: the thread that loads does.
Result<Checkpoint> OpenCheckpoint(const ModelSource& source, ThreadPool* pool);

// The tokenizer of an open checkpoint: GGUF's vocabulary, or the directory's tokenizer.json. Null
// if a directory has none: then requests and answers are token ids.
Result<std::shared_ptr<const Tokenizer>> LoadTokenizer(const Checkpoint& checkpoint);

// The chat template of an open checkpoint: GGUF's tokenizer.chat_template; a directory's
// chat_template.jinja or the one in its tokenizer_config.json. `tokenizer` is what LoadTokenizer
// gave. Errors: none there (kNotFound), or one that the interpreter refuses.
Result<ChatTemplate> LoadChatTemplate(const Checkpoint& checkpoint, const Tokenizer* tokenizer);

// Ids that end an answer: the checkpoint's and the tokenizer's, joined, ascending. `tokenizer` may
// be null.
std::vector<int32_t> StopTokenIds(const ModelConfig& config, const Tokenizer* tokenizer);

struct LoadedModel {
  std::shared_ptr<const Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;  // may be null
  std::vector<int32_t> eos_token_ids;          // for EngineConfig::eos_token_ids
  // An error, for who wants to chat, if there is none or it is refused: prompts need no template.
  Result<ChatTemplate> chat_template = NotFound("no model was loaded");
};

Result<LoadedModel> LoadModel(const ModelSource& source, std::shared_ptr<const Backend> backend,
                              const ModelLoadOptions& options);

}  // namespace vexact

#endif  // VEXACT_ENGINE_LOAD_MODEL_H_
