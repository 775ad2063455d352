// Model: a decoder's weights on a backend, and its forward pass.
#ifndef VEXACT_MODEL_MODEL_H_
#define VEXACT_MODEL_MODEL_H_

#include <functional>
#include <memory>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "kernels/backend.h"
#include "model/decoder.h"
#include "model/families.h"

namespace vexact {

// The KV pool of all layers: [layer][block][K, V][kv_head][slot][head_dim].
struct KvPoolView {
  bf16* data = nullptr;
  int64_t num_blocks = 0;
  int64_t block_size = 0;  // tokens
};

struct ModelLoadOptions {
  int64_t max_positions = 0;  // of the rope table; 0: the configuration's
  // Called after each layer with (layers loaded, layers in all); may be empty.
  std::function<void(int64_t, int64_t)> progress;
};

// Immutable: several engines may share one model and run it at the same time.
class Model {
 public:
  // Errors are the checkpoint's (missing tensors and the like) or kResourceExhausted.
  static Result<std::shared_ptr<const Model>> Load(const Checkpoint& checkpoint,
                                                   std::shared_ptr<const Backend> backend,
                                                   const ModelLoadOptions& options);

  // The same weights, by handle, with operators of another backend: another mode of one device.
  // An error if that backend has another layout of weights.
  Result<std::shared_ptr<const Model>> On(std::shared_ptr<const Backend> backend) const;

  const ModelConfig& config() const { return config_; }
  const Backend& backend() const { return *backend_; }
  int64_t max_positions() const { return weights_->rope.max_positions; }
  int64_t KvBytesPerToken() const;

  // Whether a step's forward pass can be recorded and replayed (Backend::Capture): experts' row
  // counts pass through the host.
  bool CanCaptureForward() const { return backend_->CanCapture() && config_.moe.num_experts == 0; }
  // The kinds of linear layers, for Backend::PrepareLinear.
  std::vector<LinearProblem> LinearProblems() const;

  // The hidden state of every token after the last layer and the final norm; writes this step's
  // keys and values to the pool. inputs.num_tokens is at most workspace.max_tokens(). What
  // workspace and hidden hold does not outlive the next call.
  // hidden is [tokens, hidden_size].
  void Forward(const ForwardInputs& inputs, const KvPoolView& pool, const Workspace& workspace,
               Rows<bf16> hidden, Stream& stream) const;

  // logits[i] = lm_head(hidden[i]), fp32, [rows, vocab_size]; rows at most
  // workspace.max_logit_rows().
  void Logits(Rows<const bf16> hidden, const Workspace& workspace, Rows<float> logits,
              Stream& stream) const;

 private:
  // Everything that a model holds on its device.
  struct Weights {
    Buffer rope_cos, rope_sin;
    RopeView rope;
    Rows<const bf16> embeddings;  // [vocab_size, hidden_size], in one of the next two or in lm_head
    Bf16Tensor host_embeddings;
    Buffer device_embeddings;
    std::vector<LayerWeights> layers;
    VectorWeight final_norm;
    LinearWeight lm_head;
  };

  Model() = default;
  Status LoadRope(const ModelLoadOptions& options, Stream& stream, Weights* weights) const;
  Status LoadEmbeddings(const Checkpoint& checkpoint, Stream& stream, Weights* weights) const;
  PagedKv LayerKv(const KvPoolView& pool, int64_t layer) const;

  ModelConfig config_;
  std::shared_ptr<const Backend> backend_;
  const Family* family_ = nullptr;
  std::shared_ptr<const Weights> weights_;
};

}  // namespace vexact

#endif  // VEXACT_MODEL_MODEL_H_
