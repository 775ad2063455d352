// The pieces that decoder families are made of, each a few operators long. A family's file puts
// them together in the order of its published architecture.
#ifndef VEXACT_MODEL_DECODER_H_
#define VEXACT_MODEL_DECODER_H_

#include <cstdint>
#include <vector>

#include "checkpoint/model_config.h"
#include "kernels/backend.h"
#include "model/weights.h"

namespace vexact {

// The arrays of a step in the backend's memory (batch/batch_inputs.h has their meaning). Tokens of
// no sequence are padding: their kv_slots are -1.
struct ForwardInputs {
  int64_t num_tokens = 0;
  const int32_t* token_ids = nullptr;      // [tokens]
  const int32_t* pending_slots = nullptr;  // [tokens], or none
  const int32_t* newest_tokens = nullptr;  // [sampler slots], read where pending_slots says so
  const int32_t* positions = nullptr;      // [tokens]
  const int32_t* kv_slots = nullptr;       // [tokens]
  PagedSequences sequences;
  uint8_t* row_faults = nullptr;  // [tokens]: set to 1 where K or V is not finite
};

struct WorkspaceLimits {
  int64_t max_tokens = 0;
  int64_t max_sequences = 0;
  int64_t max_logit_rows = 0;
};

// Activations of one step, allocated once for the largest step.
class Workspace {
 public:
  static Result<Workspace> Create(const ModelConfig& config, const Backend& backend,
                                  const WorkspaceLimits& limits);

  int64_t max_tokens() const { return limits_.max_tokens; }
  int64_t max_logit_rows() const { return limits_.max_logit_rows; }
  const AttentionPlan& attention_plan() const { return attention_plan_; }

  // Views of the first `rows` rows.
  Rows<bf16> Normed(int64_t rows) const { return View(normed_, rows, hidden_); }
  Rows<bf16> Branch(int64_t rows) const { return View(branch_, rows, hidden_); }
  Rows<bf16> Qkv(int64_t rows) const { return View(qkv_, rows, qkv_cols_); }
  Rows<bf16> Attended(int64_t rows) const { return View(attended_, rows, attended_cols_); }
  Rows<bf16> GateUp(int64_t rows) const { return View(gate_up_, rows, 2 * intermediate_); }
  Rows<bf16> Activated(int64_t rows) const { return View(activated_, rows, intermediate_); }
  // Mixture of experts: [tokens * top_k, hidden] twice, and the routing of [tokens].
  Rows<bf16> ExpertInputs(int64_t rows) const { return View(expert_inputs_, rows, hidden_); }
  Rows<bf16> ExpertOutputs(int64_t rows) const { return View(expert_outputs_, rows, hidden_); }
  Rows<float> RouterScores(int64_t rows) const;
  Rows<int32_t> RouteIds(int64_t rows) const;
  Rows<float> RouteWeights(int64_t rows) const;
  // The routed pairs' order, [2, tokens * top_k], in the backend's memory and on the host.
  int32_t* RouteOrder() const { return route_order_.as<int32_t>(); }
  int32_t* HostRouteOrder() const { return host_route_order_.as<int32_t>(); }

 private:
  static Rows<bf16> View(const Buffer& buffer, int64_t rows, int64_t cols) {
    return Rows<bf16>(buffer.as<bf16>(), rows, cols);
  }

  WorkspaceLimits limits_;
  int64_t hidden_ = 0;
  int64_t qkv_cols_ = 0;
  int64_t attended_cols_ = 0;
  int64_t intermediate_ = 0;  // of the dense MLP, or of one expert
  int64_t num_experts_ = 0;
  int64_t top_k_ = 0;
  Buffer normed_, branch_, qkv_, attended_, gate_up_, activated_;
  Buffer expert_inputs_, expert_outputs_, router_scores_, route_ids_, route_weights_;
  Buffer route_order_, host_route_order_;
  AttentionPlan attention_plan_;
};

// One step inside one layer. Each block finds the norm of `hidden` in workspace.Normed and leaves
// there the norm that the block after it begins with: a norm is the last part of the sum before it.
struct DecoderStep {
  const ModelConfig& config;
  const Backend& backend;
  const RopeView& rope;
  const Workspace& workspace;
  const ForwardInputs& inputs;
  PagedKv kv;                     // of the current layer
  Rows<bf16> hidden;              // [tokens, hidden], the residual stream, updated in place
  const VectorWeight& next_norm;  // the next layer's input norm, or the model's final one
  Rows<bf16> next_normed;         // [tokens, hidden], where it goes; may be hidden, then lost
  Stream& stream;
};

// hidden += o(attention(rope(q), rope(k), v)) of the norm; then the norm after attention. Biases
// and the norms of q and k heads take part where the layer has them.
void AttentionBlock(const LayerWeights& layer, const DecoderStep& step);

// hidden += down(silu(gate) * up) of the norm; then the next norm.
void DenseMlpBlock(const LayerWeights& layer, const DecoderStep& step);

// hidden += the weighted sum of each token's experts' MLPs of the norm; then the next norm.
void ExpertsBlock(const LayerWeights& layer, const DecoderStep& step);

}  // namespace vexact

#endif  // VEXACT_MODEL_DECODER_H_
