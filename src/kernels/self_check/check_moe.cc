// Checks of the mixture of experts: routing and the weighted sum.
#include <cmath>

#include "kernels/self_check/self_check.h"

namespace vexact {
namespace {

struct MoeShape {
  int64_t rows;
  int64_t experts;
  int64_t top_k;
  bool norm;
};

// Odd rows have few different scores: ties go to the lower expert.
Status RunRoute(OperatorCall& call, const MoeShape& shape) {
  auto scores = MakeRows<float>({40, CheckValues::kUniform, 12.0f}, 0, shape.rows, shape.experts,
                                *call.stream().pool);
  for (int64_t r = 1; r < shape.rows; r += 2) {
    for (int64_t e = 0; e < shape.experts; ++e) {
      float& score = scores[static_cast<size_t>(r * shape.experts + e)];
      score = std::floor(score / 4.0f);
    }
  }
  const Rows<int32_t> ids = call.Out<int32_t>("ids", shape.rows, shape.top_k);
  const Rows<float> weights = call.Out<float>("weights", shape.rows, shape.top_k);
  call.backend().MoeRoute({.scores = {call.In(std::move(scores)), shape.rows, shape.experts},
                           .norm_topk_prob = shape.norm,
                           .ids = ids,
                           .weights = weights},
                          call.stream());
  return {};
}

Status RunCombine(OperatorCall& call, int64_t rows, int64_t top_k, int64_t hidden) {
  call.backend().MoeCombine(
      {.expert_rows = call.InRows({41, CheckValues::kSpecial}, 0, rows * top_k, hidden),
       .weights = call.InRows<float>({42, CheckValues::kUniform, 1.0f}, 0, rows, top_k),
       .y = call.Out<bf16>("y", rows, hidden, hidden + 5)},
      call.stream());
  return {};
}

// Two experts that say the same, with opposite weights: what is left is the rounding error of the
// first product, which only a fused multiply-add sees.
Status RunCancellingCombine(OperatorCall& call, int64_t rows, int64_t hidden) {
  ThreadPool& pool = *call.stream().pool;
  const auto said = MakeRows<bf16>({43, CheckValues::kSpread}, 0, rows, hidden, pool);
  const auto weights = MakeRows<float>({44, CheckValues::kUniform, 1.0f}, 0, rows, 1, pool);
  std::vector<bf16> expert_rows;
  std::vector<float> pairs;
  for (int64_t r = 0; r < rows; ++r) {
    for (int expert = 0; expert < 2; ++expert) {
      expert_rows.insert(expert_rows.end(), said.begin() + r * hidden,
                         said.begin() + (r + 1) * hidden);
      pairs.push_back(expert == 0 ? weights[r] : -weights[r]);
    }
  }
  call.backend().MoeCombine({.expert_rows = {call.In(std::move(expert_rows)), 2 * rows, hidden},
                             .weights = {call.In(std::move(pairs)), rows, 2},
                             .y = call.Out<bf16>("y", rows, hidden)},
                            call.stream());
  return {};
}

}  // namespace

void AddMoeChecks(std::vector<SelfCheckCase>& cases) {
  for (const MoeShape& shape :
       {MoeShape{65, 128, 8, true}, MoeShape{65, 128, 8, false}, MoeShape{7, 60, 4, false},
        MoeShape{3, 8, 2, true}, MoeShape{2, 200, 1, false}, MoeShape{1, 4, 4, true}}) {
    cases.push_back({"moe_route",
                     fmt::format("{} rows, {} of {} experts{}", shape.rows, shape.top_k,
                                 shape.experts, shape.norm ? ", normalised" : ""),
                     true, [shape](OperatorCall& call) { return RunRoute(call, shape); }});
  }
  for (const auto& [rows, top_k, hidden] :
       std::vector<std::array<int64_t, 3>>{{1, 1, 1}, {5, 4, 129}, {9, 8, 2048}}) {
    cases.push_back({"moe_combine", fmt::format("{} rows, {} experts, {}", rows, top_k, hidden),
                     true, [rows = rows, top_k = top_k, hidden = hidden](OperatorCall& call) {
                       return RunCombine(call, rows, top_k, hidden);
                     }});
  }
  cases.push_back({"moe_combine", "5 rows, 2 experts that cancel, 512", true,
                   [](OperatorCall& call) { return RunCancellingCombine(call, 5, 512); }});
}

}  // namespace vexact
