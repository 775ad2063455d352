#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "kernels/moe/moe.h"
#include "numerics/constants.h"
#include "numerics/ex2.h"
#include "numerics/tree128.h"

namespace vexact {
namespace {

// Value descending, a NaN below -inf, ties by ascending id.
bool ComesBefore(const float* scores, int32_t a, int32_t b) {
  const bool nan_a = std::isnan(scores[a]);
  const bool nan_b = std::isnan(scores[b]);
  if (nan_a != nan_b) return nan_b;
  if (nan_a || scores[a] == scores[b]) return a < b;
  return scores[a] > scores[b];
}

// t_e = ex2(fma(score_e, log2 e, -M)) of every expert.
std::vector<float> Exponentials(const float* scores, int64_t num_experts) {
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t e = 0; e < num_experts; ++e) {
    if (scores[e] > largest) largest = scores[e];
  }
  const float m = CeilOfProduct(largest, kLog2E);
  std::vector<float> t(static_cast<size_t>(num_experts));
  for (int64_t e = 0; e < num_experts; ++e) t[e] = Ex2(std::fma(scores[e], kLog2E, -m));
  return t;
}

float SumOverAll(const std::vector<float>& t) {
  float sum = 0.0f;
  for (size_t begin = 0; begin < t.size(); begin += 128) {
    float block[128] = {};
    std::copy_n(t.data() + begin, std::min<size_t>(128, t.size() - begin), block);
    sum = sum + Tree128(block);
  }
  return sum;
}

void RouteToken(const MoeRouteArgs& args, int64_t token) {
  const float* scores = args.scores[token];
  std::vector<int32_t> order(static_cast<size_t>(args.scores.cols));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [scores](int32_t a, int32_t b) { return ComesBefore(scores, a, b); });
  order.resize(static_cast<size_t>(args.ids.cols));
  std::sort(order.begin(), order.end());

  const std::vector<float> t = Exponentials(scores, args.scores.cols);
  float sum = 0.0f;
  if (args.norm_topk_prob) {
    for (const int32_t id : order) sum = sum + t[id];
  } else {
    sum = SumOverAll(t);
  }
  for (size_t j = 0; j < order.size(); ++j) {
    args.ids[token][j] = order[j];
    args.weights[token][j] = t[order[j]] / sum;
  }
}

}  // namespace

void CheckShapes(const MoeRouteArgs& args) {
  VX_CHECK(args.ids.cols <= args.scores.cols, "top_k <= num_experts");
  VX_CHECK(args.weights.cols == args.ids.cols, "a weight for each id");
  VX_CHECK(args.ids.rows == args.scores.rows && args.weights.rows == args.scores.rows, "rows");
}

void MoeRouteReference(const MoeRouteArgs& args, Stream& stream) {
  CheckShapes(args);
  stream.pool->ParallelFor(args.scores.rows, [&](int64_t token) { RouteToken(args, token); });
}

void CheckShapes(const MoeCombineArgs& args) {
  VX_CHECK(args.expert_rows.rows == args.y.rows * args.weights.cols, "a row for each weight");
  VX_CHECK(args.weights.rows == args.y.rows, "weights for each row of y");
  VX_CHECK(args.expert_rows.cols == args.y.cols, "hidden");
}

void MoeCombineReference(const MoeCombineArgs& args, Stream& stream) {
  CheckShapes(args);
  const int64_t top_k = args.weights.cols;
  stream.pool->ParallelFor(args.y.rows, [&](int64_t token) {
    for (int64_t i = 0; i < args.y.cols; ++i) {
      float y = 0.0f;
      for (int64_t j = 0; j < top_k; ++j) {
        const float d = FloatFromBf16(args.expert_rows[token * top_k + j][i]);
        y = std::fma(args.weights[token][j], d, y);
      }
      args.y[token][i] = Bf16FromFloat(y);
    }
  });
}

}  // namespace vexact
