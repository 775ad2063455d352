// Checks of linear: single steps of dot16 at its corners, and sums in which another order shows.
#include "kernels/self_check/self_check.h"

namespace vexact {
namespace {

struct LinearShape {
  int64_t rows;
  LinearProblem problem;
};

Status RunLinear(OperatorCall& call, const LinearShape& shape, const std::vector<bf16>& x,
                 const std::vector<bf16>& weight) {
  const auto [out, in, has_bias, fp32_output] = shape.problem;
  VX_ASSIGN_OR_RETURN(const LinearWeight* packed, call.Weight(weight, in));
  LinearArgs args{.x = Rows<const bf16>(call.In(x), shape.rows, in), .weight = packed};
  if (has_bias) {
    const CheckInput bias{.tag = 12, .values = CheckValues::kUniform, .scale = 0x1p-16f};
    args.bias = call.InRows(bias, 0, 1, out).data;
  }
  if (fp32_output) {
    args.y_fp32 = call.Out<float>("y", shape.rows, out);
  } else {
    args.y = call.Out<bf16>("y", shape.rows, out);
  }
  call.backend().Linear(args, call.stream());
  return {};
}

// Exact sums of 0: what comes out is what the steps cut off on the way up and down.
Status RunOrder(OperatorCall& call, const LinearShape& shape) {
  ThreadPool& pool = *call.stream().pool;
  const auto [out, in, has_bias, fp32_output] = shape.problem;
  return RunLinear(call, shape, MakeRows<bf16>({10, CheckValues::kRepeat}, 0, shape.rows, in, pool),
                   MakeRows<bf16>({11, CheckValues::kCancel}, 0, out, in, pool));
}

constexpr CheckValues kCorners[] = {
    CheckValues::kSpread, CheckValues::kWide,    CheckValues::kTiny,   CheckValues::kSubnormal,
    CheckValues::kLarge,  CheckValues::kSpecial, CheckValues::kRepeat, CheckValues::kUniform};

// Eight rows of each kind of value.
std::vector<bf16> CornerRows(uint32_t tag, int64_t cols) {
  std::vector<bf16> rows;
  for (const CheckValues values : kCorners) {
    for (int64_t r = 0; r < 8; ++r) {
      std::vector<bf16> row(static_cast<size_t>(cols));
      FillRow({tag, values}, r, row);
      rows.insert(rows.end(), row.begin(), row.end());
    }
  }
  return rows;
}

// Every kind of row with every kind of weight: subnormal operands and results, the floor of the
// exponents, overflow, infinities, NaN, infinity times 0, cancellation, gaps between exponents. A
// second step of 16 starts from what the first left, with the opposite products of the first in
// half of the weights: c as large as the sum, and results at zero.
Status RunCorners(OperatorCall& call, int64_t in) {
  const auto x = CornerRows(13, in);
  auto weight = CornerRows(14, in);
  for (size_t o = 0; o < 64; o += 2) {
    bf16* const row = weight.data() + o * static_cast<size_t>(in);
    for (int64_t i = 16; i < in; ++i) row[i].bits = row[i - 16].bits ^ 0x8000;
  }
  return RunLinear(call, {64, {64, in, false, true}}, x, weight);
}

constexpr LinearShape kShort[] = {
    {1, {16, 16, false, false}},     {1, {512, 6144, false, false}}, {3, {65, 33, true, false}},
    {8, {128, 2048, false, true}},   {9, {192, 576, true, true}},    {17, {130, 576, true, false}},
    {33, {192, 1536, false, false}}, {64, {256, 2048, false, true}}, {65, {257, 1024, false, true}},
    {129, {256, 512, false, false}}, {7, {1, 1, true, true}},
};
// The layers of Qwen3-1.7B and SmolLM2-135M, at the edges of tiles of rows.
constexpr LinearProblem kLayers[] = {
    {4096, 2048, false, false}, {2048, 2048, false, false}, {12288, 2048, false, false},
    {2048, 6144, false, false}, {960, 576, false, false},   {3072, 576, false, false},
    {576, 1536, false, false},
};
constexpr int64_t kRows[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 257};

void AddOrder(const LinearShape& shape, bool in_short, std::vector<SelfCheckCase>& cases) {
  const LinearProblem& p = shape.problem;
  cases.push_back({"linear",
                   fmt::format("{} x {} -> {}{}{}", shape.rows, p.in_features, p.out_features,
                               p.has_bias ? ", bias" : "", p.fp32_output ? ", fp32" : ""),
                   in_short, [shape](OperatorCall& call) { return RunOrder(call, shape); }});
}

}  // namespace

void AddLinearChecks(std::vector<SelfCheckCase>& cases) {
  for (const int64_t in : {16, 32, 40}) {
    cases.push_back({"linear", fmt::format("corners of dot16, 64 x {} -> 64, fp32", in), true,
                     [in](OperatorCall& call) { return RunCorners(call, in); }});
  }
  for (const LinearShape& shape : kShort) AddOrder(shape, true, cases);
  for (const LinearProblem& problem : kLayers) {
    for (const int64_t rows : kRows) AddOrder({rows, problem}, false, cases);
  }
  for (const int64_t rows : {1, 8, 17, 64}) {
    AddOrder({rows, {16384, 2048, false, true}}, false, cases);
  }
}

}  // namespace vexact
