// Checks of the operators that work on rows of activations.
#include <algorithm>

#include "kernels/self_check/self_check.h"

namespace vexact {
namespace {

constexpr CheckInput kX{.tag = 20, .values = CheckValues::kSpread};
constexpr CheckInput kOther{.tag = 21, .values = CheckValues::kSpread};

Status RunRmsNorm(OperatorCall& call, const CheckInput& input, int64_t groups, int64_t group) {
  constexpr int64_t kRows = 3;
  const int64_t cols = groups * group;
  call.backend().RmsNorm({.x = call.InRows(input, 0, kRows, cols),
                          .weight = call.InRows(kOther, 0, 1, group).data,
                          .group = group,
                          .eps = 1e-6f,
                          .y = call.Out<bf16>("y", kRows, cols, cols + 8)},
                         call.stream());
  return {};
}

// Each row has another sum, decided by its first element and eps; the others, too small to matter
// to it, hold all significands, some of which end so near a tie of bf16 that the last bit of
// 1 / sqrt decides. (Of the approximate instruction's results 22 % have another.)
Status RunSquareRoot(OperatorCall& call) {
  constexpr int64_t kRows = 16384;
  constexpr int64_t kCols = 128;
  std::vector<bf16> x(kRows * kCols);
  for (int64_t r = 0; r < kRows; ++r) {
    bf16* const row = x.data() + r * kCols;
    FillRow(kX, r, {row, 1});
    for (int64_t c = 1; c < kCols; ++c) {
      row[c] = bf16{static_cast<uint16_t>((127 - 40) << 7 | c)};
    }
  }
  std::vector<bf16> ones(kCols, bf16{0x3f80});
  call.backend().RmsNorm({.x = {call.In(std::move(x)), kRows, kCols},
                          .weight = call.In(std::move(ones)),
                          .group = kCols,
                          .eps = 0.0123456789f,
                          .y = call.Out<bf16>("y", kRows, kCols)},
                         call.stream());
  return {};
}

Status RunResidualNorm(OperatorCall& call, const CheckInput& input, int64_t rows, int64_t cols) {
  const auto hidden = MakeRows<bf16>(input, 0, rows, cols, *call.stream().pool);
  call.backend().ResidualNorm({.hidden = call.Out<bf16>("hidden", rows, cols, cols + 8, hidden),
                               .branch = call.InRows({21, input.values}, 0, rows, cols),
                               .weight = call.InRows(kOther, 0, 1, cols).data,
                               .eps = 1e-6f,
                               .normed = call.Out<bf16>("normed", rows, cols)},
                              call.stream());
  return {};
}

struct AttentionHeads {
  int64_t q;
  int64_t kv;
  int64_t dim;
  bool norms;
  int64_t block_size;
};

// Rows out of order over all blocks, one written nowhere; a few hold values that are not finite.
Status RunNormRopeWrite(OperatorCall& call, const AttentionHeads& heads) {
  constexpr int64_t kRows = 37;
  constexpr int64_t kBlocks = 5;
  constexpr int64_t kPositions = 4096;
  const RopeTable table =
      BuildRopeTable({.theta = 1e6, .rotary_dim = static_cast<int32_t>(heads.dim)}, kPositions);
  RopeView view = table.view();
  view.cos = call.In(table.cos);
  view.sin = call.In(table.sin);
  std::vector<int32_t> positions;
  std::vector<int32_t> slots;
  const auto num_slots = static_cast<int32_t>(kBlocks * heads.block_size);
  for (int32_t r = 0; r < kRows; ++r) {
    positions.push_back(static_cast<int32_t>(CheckWord(22, 0, r) % kPositions));
    slots.push_back((r * 29 + 3) % num_slots);
  }
  positions[0] = 0;
  positions[1] = kPositions - 1;
  slots[5] = -1;
  const int64_t cols = (heads.q + 2 * heads.kv) * heads.dim;
  auto qkv = MakeRows<bf16>(kX, 0, kRows, cols, *call.stream().pool);
  qkv[static_cast<size_t>(3 * cols + heads.q * heads.dim)] = bf16{0x7f80};  // in K
  qkv[static_cast<size_t>(17 * cols + cols - 1)] = bf16{0xffc1};            // in V
  const int64_t block_elements = 2 * heads.kv * heads.block_size * heads.dim;
  const Rows<bf16> pool = call.Out<bf16>("pool", kBlocks, block_elements, block_elements + 64);
  const Rows<uint8_t> faults =
      call.Out<uint8_t>("row_faults", 1, kRows, kRows, std::vector<uint8_t>(kRows));
  const CheckInput weights{.tag = 24, .values = CheckValues::kSpread};
  call.backend().NormRopeWrite(
      {.qkv = call.Out<bf16>("qkv", kRows, cols, cols + 8, qkv),
       .num_heads = heads.q,
       .q_norm = heads.norms ? call.InRows(weights, 0, 1, heads.dim).data : nullptr,
       .k_norm = heads.norms ? call.InRows(weights, 1, 2, heads.dim).data : nullptr,
       .eps = 1e-6f,
       .positions = call.In(std::move(positions)),
       .table = view,
       .slots = call.In(std::move(slots)),
       .kv = {.pool = pool.data,
              .num_blocks = kBlocks,
              .block_size = heads.block_size,
              .num_kv_heads = heads.kv,
              .head_dim = heads.dim,
              .block_stride = pool.stride},
       .row_faults = faults.data},
      call.stream());
  return {};
}

// Every bf16 gate there is.
Status RunAllGates(OperatorCall& call) {
  constexpr int64_t kRows = 256;
  constexpr int64_t kCols = 256;
  std::vector<bf16> gates(kRows * kCols);
  for (size_t i = 0; i < gates.size(); ++i) gates[i].bits = static_cast<uint16_t>(i);
  call.backend().SiluMul({.gate = {call.In(std::move(gates)), kRows, kCols},
                          .up = call.InRows(kOther, 0, kRows, kCols),
                          .y = call.Out<bf16>("y", kRows, kCols)},
                         call.stream());
  return {};
}

// Rows of gate and up side by side, as the model has them.
Status RunSiluMul(OperatorCall& call, int64_t rows, int64_t cols) {
  const Rows<const bf16> both = call.InRows({20, CheckValues::kSpecial}, 0, rows, 2 * cols);
  call.backend().SiluMul({.gate = both.Columns(0, cols),
                          .up = both.Columns(cols, 2 * cols),
                          .y = call.Out<bf16>("y", rows, cols, cols + 1)},
                         call.stream());
  return {};
}

Status RunEmbedding(OperatorCall& call, int64_t rows, int64_t cols) {
  constexpr int64_t kVocab = 300;
  std::vector<int32_t> ids;
  std::vector<int32_t> slots;
  for (int64_t r = 0; r < rows; ++r) {
    ids.push_back(static_cast<int32_t>(CheckWord(23, 0, r) % kVocab));
    slots.push_back(r % 3 == 1 ? static_cast<int32_t>(r % 4) : -1);
  }
  ids[0] = kVocab - 1;
  call.backend().Embedding({.table = call.InRows(kX, 0, kVocab, cols),
                            .ids = call.In(std::move(ids)),
                            .y = call.Out<bf16>("y", rows, cols, cols + 3),
                            .slots = call.In(std::move(slots)),
                            .newest = call.In(std::vector<int32_t>{7, 299, 0, 150})},
                           call.stream());
  return {};
}

}  // namespace

void AddRowChecks(std::vector<SelfCheckCase>& cases) {
  const auto add = [&cases](std::string op, std::string shape,
                            std::function<Status(OperatorCall&)> run) {
    cases.push_back({std::move(op), std::move(shape), true, std::move(run)});
  };
  add("rms_norm", "square roots of 16384 sums", RunSquareRoot);
  for (const auto& [groups, group] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {3, 64}, {16, 128}, {1, 576}, {1, 2040}, {1, 2048}, {1, 2056}, {1, 5120}}) {
    add("rms_norm", fmt::format("3 rows of {} x {}", groups, group),
        [groups = groups, group = group](OperatorCall& call) {
          return RunRmsNorm(call, kX, groups, group);
        });
  }
  for (const CheckValues values :
       {CheckValues::kSpecial, CheckValues::kLarge, CheckValues::kSubnormal}) {
    add("rms_norm", fmt::format("3 rows of 1 x 2048, values of kind {}", static_cast<int>(values)),
        [=](OperatorCall& call) {
          return RunRmsNorm(call, {20, values}, 1, 2048);
        });
  }
  for (const auto& [rows, cols] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {7, 129}, {3, 576}, {3, 2048}, {3, 2056}, {2, 5120}}) {
    for (const CheckValues values : {CheckValues::kSpread, CheckValues::kSpecial}) {
      add("residual_norm",
          fmt::format("{} x {}, values of kind {}", rows, cols, static_cast<int>(values)),
          [rows = rows, cols = cols, values](OperatorCall& call) {
            return RunResidualNorm(call, {20, values}, rows, cols);
          });
    }
  }
  add("residual_norm", "64 x 512, wide", [](OperatorCall& call) {
    return RunResidualNorm(call, {20, CheckValues::kWide}, 64, 512);
  });
  const AttentionHeads all_heads[] = {
      {16, 8, 128, true, 16}, {40, 20, 64, false, 32}, {4, 2, 32, true, 64}, {5, 3, 16, true, 16}};
  for (const AttentionHeads& heads : all_heads) {
    add("norm_rope_write",
        fmt::format("37 rows of {} / {} x {}{}, blocks of {}", heads.q, heads.kv, heads.dim,
                    heads.norms ? " with norms" : "", heads.block_size),
        [=](OperatorCall& call) { return RunNormRopeWrite(call, heads); });
  }
  const std::pair<int64_t, int64_t> shapes[] = {{1, 1}, {7, 129}, {5, 6144}};
  add("silu_mul", "all gates", RunAllGates);
  for (const auto& [rows, cols] : shapes) {
    add("silu_mul", fmt::format("{} x {}", rows, cols),
        [rows = rows, cols = cols](OperatorCall& call) { return RunSiluMul(call, rows, cols); });
  }
  for (const auto& [rows, cols] : shapes) {
    add("embedding", fmt::format("{} x {}", rows, cols),
        [rows = rows, cols = cols](OperatorCall& call) { return RunEmbedding(call, rows, cols); });
  }
}

}  // namespace vexact
