#include "model/decoder.h"

#include <algorithm>
#include <numeric>

namespace vexact {
namespace {

// out = down(silu(gate) * up) of x; `rows` of the workspace's MLP buffers are used.
void Mlp(const LinearWeight& gate_up_weight, const LinearWeight& down, const DecoderStep& step,
         Rows<const bf16> x, Rows<bf16> out) {
  const int64_t intermediate = down.in_features;
  const Rows<bf16> gate_up = step.workspace.GateUp(x.rows);
  const Rows<bf16> activated = step.workspace.Activated(x.rows);
  step.backend.Linear({.x = x, .weight = &gate_up_weight, .y = gate_up}, step.stream);
  step.backend.SiluMul({.gate = gate_up.Columns(0, intermediate),
                        .up = gate_up.Columns(intermediate, 2 * intermediate),
                        .y = activated},
                       step.stream);
  step.backend.Linear({.x = activated, .weight = &down, .y = out}, step.stream);
}

// Routed pair p = token * top_k + j goes to row rank[p] of the buffer sorted by expert, a stable
// counting sort; token_of[rank[p]] is its token. Returns where each expert's rows begin,
// [num_experts + 1].
std::vector<int64_t> SortByExpert(const std::vector<int32_t>& pair_experts, int64_t num_experts,
                                  int64_t top_k, int32_t* rank, int32_t* token_of) {
  std::vector<int64_t> first(num_experts + 1, 0);
  for (const int32_t expert : pair_experts) ++first[expert + 1];
  std::partial_sum(first.begin(), first.end(), first.begin());
  std::vector<int64_t> next(first.begin(), first.end() - 1);
  for (size_t p = 0; p < pair_experts.size(); ++p) {
    rank[p] = static_cast<int32_t>(next[pair_experts[p]]++);
    token_of[rank[p]] = static_cast<int32_t>(p / top_k);
  }
  return first;
}

// hidden += the workspace's branch; normed = norm(hidden).
void AddBranch(const DecoderStep& step, const VectorWeight& weight, Rows<bf16> normed) {
  step.backend.ResidualNorm({.hidden = step.hidden,
                             .branch = step.workspace.Branch(step.hidden.rows),
                             .weight = weight.data(),
                             .eps = step.config.rms_norm_eps,
                             .normed = normed},
                            step.stream);
}

}  // namespace

Result<Workspace> Workspace::Create(const ModelConfig& config, const Backend& backend,
                                    const WorkspaceLimits& limits) {
  const int64_t max_tokens = limits.max_tokens;
  Workspace workspace;
  workspace.limits_ = limits;
  workspace.hidden_ = config.hidden_size;
  workspace.attended_cols_ = int64_t{config.num_heads} * config.head_dim;
  workspace.qkv_cols_ = (int64_t{config.num_heads} + 2 * config.num_kv_heads) * config.head_dim;
  const bool is_moe = config.moe.num_experts > 0;
  workspace.intermediate_ = is_moe ? config.moe.moe_intermediate_size : config.intermediate_size;
  workspace.num_experts_ = config.moe.num_experts;
  workspace.top_k_ = config.moe.num_experts_per_tok;

  struct Allocation {
    Buffer* buffer;
    int64_t rows;
    int64_t row_bytes;
  };
  constexpr int64_t kBf16 = sizeof(bf16);
  const int64_t routed = max_tokens * workspace.top_k_;
  const Allocation allocations[] = {
      {&workspace.normed_, max_tokens, workspace.hidden_ * kBf16},
      {&workspace.branch_, max_tokens, workspace.hidden_ * kBf16},
      {&workspace.qkv_, max_tokens, workspace.qkv_cols_ * kBf16},
      {&workspace.attended_, max_tokens, workspace.attended_cols_ * kBf16},
      {&workspace.gate_up_, max_tokens, 2 * workspace.intermediate_ * kBf16},
      {&workspace.activated_, max_tokens, workspace.intermediate_ * kBf16},
      {&workspace.expert_inputs_, routed, workspace.hidden_ * kBf16},
      {&workspace.expert_outputs_, routed, workspace.hidden_ * kBf16},
      {&workspace.router_scores_, max_tokens,
       workspace.num_experts_ * static_cast<int64_t>(sizeof(float))},
      {&workspace.route_ids_, routed, sizeof(int32_t)},
      {&workspace.route_weights_, routed, sizeof(float)},
      {&workspace.route_order_, 2 * routed, sizeof(int32_t)},
  };
  for (const Allocation& allocation : allocations) {
    VX_ASSIGN_OR_RETURN(*allocation.buffer,
                        backend.Allocate(allocation.rows * allocation.row_bytes));
  }
  VX_ASSIGN_OR_RETURN(workspace.host_route_order_,
                      backend.AllocateStaging(2 * routed * sizeof(int32_t)));
  VX_ASSIGN_OR_RETURN(workspace.attention_plan_,
                      backend.MakeAttentionPlan({.max_tokens = max_tokens,
                                                 .max_sequences = limits.max_sequences,
                                                 .num_heads = config.num_heads,
                                                 .num_kv_heads = config.num_kv_heads,
                                                 .head_dim = config.head_dim}));
  return workspace;
}

Rows<float> Workspace::RouterScores(int64_t rows) const {
  return Rows<float>(router_scores_.as<float>(), rows, num_experts_);
}
Rows<int32_t> Workspace::RouteIds(int64_t rows) const {
  return Rows<int32_t>(route_ids_.as<int32_t>(), rows, top_k_);
}
Rows<float> Workspace::RouteWeights(int64_t rows) const {
  return Rows<float>(route_weights_.as<float>(), rows, top_k_);
}

void AttentionBlock(const LayerWeights& layer, const DecoderStep& step) {
  const Backend& backend = step.backend;
  const ForwardInputs& inputs = step.inputs;
  const int64_t tokens = inputs.num_tokens;
  const int64_t num_heads = step.config.num_heads;
  const Rows<bf16> normed = step.workspace.Normed(tokens);
  const Rows<bf16> qkv = step.workspace.Qkv(tokens);
  backend.Linear({.x = normed, .weight = &layer.qkv, .bias = layer.qkv_bias.data(), .y = qkv},
                 step.stream);
  backend.NormRopeWrite({.qkv = qkv,
                         .num_heads = num_heads,
                         .q_norm = layer.q_norm.data(),
                         .k_norm = layer.k_norm.data(),
                         .eps = step.config.rms_norm_eps,
                         .positions = inputs.positions,
                         .table = step.rope,
                         .slots = inputs.kv_slots,
                         .kv = step.kv,
                         .row_faults = inputs.row_faults},
                        step.stream);

  const Rows<bf16> attended = step.workspace.Attended(tokens);
  backend.Attention({.q = qkv.Columns(0, num_heads * step.config.head_dim),
                     .y = attended,
                     .num_heads = num_heads,
                     .kv = step.kv,
                     .sequences = inputs.sequences,
                     .plan = &step.workspace.attention_plan()},
                    step.stream);
  backend.Linear({.x = attended, .weight = &layer.o, .y = step.workspace.Branch(tokens)},
                 step.stream);
  AddBranch(step, layer.post_attention_norm, normed);
}

void DenseMlpBlock(const LayerWeights& layer, const DecoderStep& step) {
  const int64_t tokens = step.inputs.num_tokens;
  Mlp(layer.gate_up, layer.down, step, step.workspace.Normed(tokens),
      step.workspace.Branch(tokens));
  AddBranch(step, step.next_norm, step.next_normed);
}

void ExpertsBlock(const LayerWeights& layer, const DecoderStep& step) {
  const Backend& backend = step.backend;
  const int64_t tokens = step.inputs.num_tokens;
  const int64_t top_k = step.config.moe.num_experts_per_tok;
  const Rows<bf16> normed = step.workspace.Normed(tokens);
  const Rows<float> scores = step.workspace.RouterScores(tokens);
  const Rows<int32_t> ids = step.workspace.RouteIds(tokens);
  const Rows<float> weights = step.workspace.RouteWeights(tokens);
  backend.Linear({.x = normed, .weight = &layer.router, .y_fp32 = scores}, step.stream);
  backend.MoeRoute({.scores = scores,
                    .norm_topk_prob = step.config.moe.norm_topk_prob,
                    .ids = ids,
                    .weights = weights},
                   step.stream);

  const int64_t pairs = tokens * top_k;
  const auto num_experts = static_cast<int64_t>(layer.experts.size());
  // The host has to know how many rows each expert has.
  int32_t* const host_rank = step.workspace.HostRouteOrder();
  int32_t* const host_token_of = host_rank + pairs;
  std::vector<int32_t> pair_experts(pairs);
  backend.Download(host_rank, ids.data, pairs * sizeof(int32_t), step.stream);
  if (!backend.Synchronize(step.stream).ok()) return;  // the step's end reports it
  std::copy_n(host_rank, pairs, pair_experts.data());
  const std::vector<int64_t> first =
      SortByExpert(pair_experts, num_experts, top_k, host_rank, host_token_of);
  int32_t* const rank = step.workspace.RouteOrder();
  int32_t* const token_of = rank + pairs;
  backend.Upload(rank, host_rank, 2 * pairs * sizeof(int32_t), step.stream);

  const Rows<bf16> sorted = step.workspace.ExpertInputs(pairs);
  const Rows<bf16> outputs = step.workspace.ExpertOutputs(pairs);
  backend.Embedding({.table = normed, .ids = token_of, .y = sorted}, step.stream);
  for (int64_t e = 0; e < num_experts; ++e) {
    if (first[e] == first[e + 1]) continue;
    // A token names an expert at most once, so an expert has at most `tokens` rows.
    Mlp(layer.experts[e].gate_up, layer.experts[e].down, step, sorted.Slice(first[e], first[e + 1]),
        outputs.Slice(first[e], first[e + 1]));
  }
  backend.Embedding({.table = outputs, .ids = rank, .y = sorted}, step.stream);

  backend.MoeCombine(
      {.expert_rows = sorted, .weights = weights, .y = step.workspace.Branch(tokens)}, step.stream);
  AddBranch(step, step.next_norm, step.next_normed);
}

}  // namespace vexact
