#include "kernels/self_check/check_attention.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "kernels/self_check/self_check.h"

namespace vexact {
namespace {

constexpr int64_t kMaxContext = 1 << 16;  // positions that one id has words for
constexpr int32_t kMaskLength = 100;

// AttentionMask::reach of the row at `position`.
int32_t ReachOf(MaskKind mask, const CheckedSequence& s, int64_t position) {
  if (mask == MaskKind::kDocument) return static_cast<int32_t>(position % kMaskLength);
  // A prefix ends before the rows, or they begin with it.
  const int64_t prefix =
      std::min<int64_t>(kMaskLength, s.rows == s.context ? s.context : s.context - s.rows);
  return static_cast<int32_t>(std::max<int64_t>(0, prefix - 1 - position));
}

// The pool's words, and where each sequence's blocks are.
struct PoolImage {
  std::vector<bf16> pool;
  std::vector<int32_t> table_start;
  std::vector<int32_t> tables;
  int64_t num_blocks = 0;
  int64_t block_elements = 0;
};

PoolImage FillPool(const CheckedAttention& shape, std::span<const CheckedSequence> sequences,
                   ThreadPool& threads) {
  PoolImage image;
  image.block_elements = 2 * shape.num_kv_heads * shape.block_size * shape.head_dim;
  int64_t used = 0;
  for (const CheckedSequence& s : sequences) {
    image.table_start.push_back(static_cast<int32_t>(image.tables.size()));
    for (int64_t b = 0; b * shape.block_size < s.context; ++b) {
      image.tables.push_back(static_cast<int32_t>(used++));
    }
    image.tables.push_back(std::numeric_limits<int32_t>::max());  // nobody may read it
  }
  image.num_blocks = used + 1;
  int64_t step = 7;  // neighbours in a sequence are none in the pool
  while (std::gcd(step, image.num_blocks) != 1) ++step;
  for (int32_t& block : image.tables) {
    if (block < used) block = static_cast<int32_t>(block * step % image.num_blocks);
  }
  image.pool.assign(static_cast<size_t>(image.num_blocks * image.block_elements), bf16{0x7fa5});
  for (size_t s = 0; s < sequences.size(); ++s) {
    const int32_t* const table = image.tables.data() + image.table_start[s];
    threads.ParallelFor(sequences[s].context, [&](int64_t p) {
      std::vector<bf16> row(static_cast<size_t>(2 * shape.num_kv_heads * shape.head_dim));
      FillRow({30, CheckValues::kUniform, 2.0f}, sequences[s].id * kMaxContext + p, row);
      bf16* const block = image.pool.data() + table[p / shape.block_size] * image.block_elements;
      for (int64_t h = 0; h < 2 * shape.num_kv_heads; ++h) {  // keys' heads, then values'
        std::copy_n(row.data() + h * shape.head_dim, shape.head_dim,
                    block + (h * shape.block_size + p % shape.block_size) * shape.head_dim);
      }
    });
  }
  return image;
}

}  // namespace

Status RunCheckedAttention(OperatorCall& call, const CheckedAttention& shape,
                           std::span<const CheckedSequence> sequences) {
  PoolImage image = FillPool(shape, sequences, *call.stream().pool);
  const int64_t cols = shape.num_heads * shape.head_dim;
  std::vector<int32_t> query_start = {0};
  std::vector<int32_t> context_len;
  std::vector<int32_t> reach;
  int64_t max_rows = 0;
  std::vector<bf16> q;
  for (const CheckedSequence& s : sequences) {
    const int64_t end = s.id * kMaxContext + s.context;
    const auto rows = MakeRows<bf16>({31, CheckValues::kUniform, 2.0f}, end - s.rows, end, cols,
                                     *call.stream().pool);
    q.insert(q.end(), rows.begin(), rows.end());
    query_start.push_back(query_start.back() + static_cast<int32_t>(s.rows));
    context_len.push_back(static_cast<int32_t>(s.context));
    max_rows = std::max(max_rows, s.rows);
    for (int64_t p = s.context - s.rows; HasReach(shape.mask) && p < s.context; ++p) {
      reach.push_back(ReachOf(shape.mask, s, p));
    }
  }
  const int64_t num_rows = query_start.back();
  const auto count = static_cast<int64_t>(sequences.size());
  const PagedSequences paged{
      .count = count,
      .query_start = call.In(std::move(query_start)),
      .context_len = call.In(std::move(context_len)),
      .block_table_start = call.In(std::move(image.table_start)),
      .block_tables = call.In(std::move(image.tables)),
      .max_rows = max_rows,
      .mask = {.kind = shape.mask, .window = kMaskLength, .reach = call.In(std::move(reach))}};
  VX_ASSIGN_OR_RETURN(const AttentionPlan* plan, call.Plan({.max_tokens = num_rows,
                                                            .max_sequences = count,
                                                            .num_heads = shape.num_heads,
                                                            .num_kv_heads = shape.num_kv_heads,
                                                            .head_dim = shape.head_dim}));
  const PagedKv kv{.pool = call.In(std::move(image.pool)),
                   .num_blocks = image.num_blocks,
                   .block_size = shape.block_size,
                   .num_kv_heads = shape.num_kv_heads,
                   .head_dim = shape.head_dim,
                   .block_stride = image.block_elements};
  call.backend().PlanAttention(paged, *plan, call.stream());
  call.backend().Attention({.q = {call.In(std::move(q)), num_rows, cols},
                            .y = call.Out<bf16>("y", num_rows, cols, cols + 8),
                            .num_heads = shape.num_heads,
                            .kv = kv,
                            .sequences = paged,
                            .plan = plan},
                           call.stream());
  return {};
}

namespace {

void AddMaskChecks(std::vector<SelfCheckCase>& cases) {
  static constexpr std::pair<MaskKind, const char*> kMasks[] = {
      {MaskKind::kSlidingWindow, "sliding-window"},
      {MaskKind::kPrefixLm, "prefix-lm"},
      {MaskKind::kDocument, "document"}};
  for (const auto& [mask, name] : kMasks) {
    for (CheckedAttention shape :
         {CheckedAttention{9, 3, 64, 16}, CheckedAttention{16, 8, 128, 16}}) {
      shape.mask = mask;
      cases.push_back({"attention",
                       fmt::format("chunks and decode, mask {}, heads {} / {} of {}", name,
                                   shape.num_heads, shape.num_kv_heads, shape.head_dim),
                       true,
                       [shape](auto& call) {
                         return RunCheckedAttention(
                             call, shape,
                             std::vector<CheckedSequence>{
                                 {0, 120, 120}, {1, 300, 1}, {2, 130, 5}, {3, 520, 33}});
                       },
                       true});
      cases.push_back({"attention",
                       fmt::format("decode, mask {}, heads {} / {} of {}", name, shape.num_heads,
                                   shape.num_kv_heads, shape.head_dim),
                       true,
                       [shape](auto& call) {
                         return RunCheckedAttention(
                             call, shape,
                             std::vector<CheckedSequence>{{0, 90, 1}, {1, 300, 1}, {2, 770, 1}});
                       },
                       true});
    }
  }
}

}  // namespace

void AddAttentionChecks(std::vector<SelfCheckCase>& cases) {
  // At the edges of blocks, tiles of 128 and segments of 256 positions.
  static constexpr int64_t kEdges[] = {1,   2,   15,  16,  17,  63,  64,  65,  127, 128, 129,
                                       255, 256, 257, 383, 384, 385, 511, 512, 513, 769, 1025};
  static constexpr CheckedAttention kShapes[] = {
      {9, 3, 64, 16}, {16, 8, 128, 16}, {16, 1, 64, 32}, {4, 4, 128, 64}, {7, 1, 64, 64}};
  for (const CheckedAttention& shape : kShapes) {
    const std::string heads = fmt::format("heads {} / {} of {}, blocks of {}", shape.num_heads,
                                          shape.num_kv_heads, shape.head_dim, shape.block_size);
    cases.push_back({"attention", "decode at tile edges, " + heads, true, [shape](auto& call) {
                       std::vector<CheckedSequence> sequences;
                       for (const int64_t context : kEdges) {
                         const auto id = static_cast<int64_t>(sequences.size());
                         sequences.push_back({id, context, 1});
                       }
                       return RunCheckedAttention(call, shape, sequences);
                     }});
    cases.push_back(
        {"attention", "chunks and decode, " + heads, true, [shape](auto& call) {
           return RunCheckedAttention(
               call, shape,
               std::vector<CheckedSequence>{
                   {0, 40, 40}, {1, 300, 1}, {2, 130, 5}, {3, 70, 0}, {4, 257, 17}, {5, 520, 33}});
         }});
    cases.push_back(
        {"attention", "prompt of 700, " + heads, false, [shape](auto& call) {
           return RunCheckedAttention(call, shape, std::vector<CheckedSequence>{{0, 700, 700}});
         }});
    cases.push_back(
        {"attention", "decode of 3000 beside 2 to 64, " + heads, false, [shape](auto& call) {
           std::vector<CheckedSequence> sequences = {{0, 3000, 1}};
           for (int64_t id = 1; id < 64; ++id) sequences.push_back({id, id + 1, 1});
           return RunCheckedAttention(call, shape, sequences);
         }});
  }
  // So many that a GPU's blocks take whole heads.
  static constexpr CheckedAttention kMany[] = {{2, 1, 64, 16}, {2, 1, 128, 16}};
  for (const CheckedAttention& shape : kMany) {
    cases.push_back({"attention", fmt::format("decode of 110, heads 2 / 1 of {}", shape.head_dim),
                     true, [shape](auto& call) {
                       std::vector<CheckedSequence> sequences;
                       for (int64_t id = 0; id < 110; ++id) {
                         sequences.push_back({id, kEdges[id % std::size(kEdges)], 1});
                       }
                       return RunCheckedAttention(call, shape, sequences);
                     }});
  }
  AddMaskChecks(cases);
}

}  // namespace vexact
