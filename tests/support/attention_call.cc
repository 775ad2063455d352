#include "support/attention_call.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "support/backends.h"

namespace vexact {
namespace {

int64_t BlockElements(const AttentionShape& shape, int64_t block_size) {
  return 2 * shape.num_kv_heads * block_size * shape.head_dim;
}

// AttentionMask::reach of the row at `position`.
int32_t ReachOf(MaskKind kind, const AttentionSequence& sequence, int64_t position) {
  if (kind == MaskKind::kPrefixLm) {
    return static_cast<int32_t>(std::max<int64_t>(0, sequence.prefix_len - 1 - position));
  }
  int32_t earlier = 0;
  while (earlier < position &&
         sequence.documents[position - earlier - 1] == sequence.documents[position]) {
    ++earlier;
  }
  return earlier;
}

}  // namespace

AttentionCall::AttentionCall(const AttentionShape& shape, int64_t block_size, int64_t num_blocks,
                             const AttentionMask& mask)
    : shape_(shape),
      mask_(mask),
      pool_(static_cast<size_t>(num_blocks * BlockElements(shape, block_size)), Poison<bf16>()) {
  kv_ = {pool_.data(),       num_blocks,     block_size,
         shape.num_kv_heads, shape.head_dim, BlockElements(shape, block_size)};
  free_blocks_.resize(static_cast<size_t>(num_blocks));
  std::iota(free_blocks_.begin(), free_blocks_.end(), 0);
  std::shuffle(free_blocks_.begin(), free_blocks_.end(), std::mt19937(5));
}

void AttentionCall::Add(const AttentionSequence& sequence) {
  std::vector<int32_t> table;
  for (int64_t p = 0; p < sequence.k.rows(); ++p) {
    if (p % kv_.block_size == 0) {
      table.push_back(free_blocks_.back());
      free_blocks_.pop_back();
    }
    for (int64_t h = 0; h < shape_.num_kv_heads; ++h) {
      const int64_t offset = p % kv_.block_size * shape_.head_dim;
      std::copy_n(sequence.k[p] + h * shape_.head_dim, shape_.head_dim,
                  kv_.Keys(table.back(), h) + offset);
      std::copy_n(sequence.v[p] + h * shape_.head_dim, shape_.head_dim,
                  kv_.Values(table.back(), h) + offset);
    }
  }
  tables_.push_back(table);
  for (int64_t r = 0; r < sequence.q.rows(); ++r) {
    q_.insert(q_.end(), sequence.q[r], sequence.q[r] + sequence.q.cols());
    const int64_t position = sequence.k.rows() - sequence.q.rows() + r;
    if (HasReach(mask_.kind)) reach_.push_back(ReachOf(mask_.kind, sequence, position));
  }
  query_start_.push_back(static_cast<int32_t>(query_start_.back() + sequence.q.rows()));
  max_rows_ = std::max(max_rows_, sequence.q.rows());
  context_len_.push_back(static_cast<int32_t>(sequence.k.rows()));
}

AttentionArgs AttentionCall::Args(Rows<bf16> y) {
  block_tables_.clear();
  block_table_start_.clear();
  for (const auto& table : tables_) {  // with an entry between them that nobody may read
    block_table_start_.push_back(static_cast<int32_t>(block_tables_.size()));
    block_tables_.insert(block_tables_.end(), table.begin(), table.end());
    block_tables_.push_back(std::numeric_limits<int32_t>::max());
  }
  const int64_t cols = shape_.num_heads * shape_.head_dim;
  mask_.reach = reach_.data();
  return {.q = Rows<const bf16>(q_.data(), query_start_.back(), cols),
          .y = y,
          .num_heads = shape_.num_heads,
          .kv = kv_,
          .sequences = {.count = static_cast<int64_t>(tables_.size()),
                        .query_start = query_start_.data(),
                        .context_len = context_len_.data(),
                        .block_table_start = block_table_start_.data(),
                        .block_tables = block_tables_.data(),
                        .max_rows = max_rows_,
                        .mask = mask_}};
}

Matrix<bf16> AttentionCall::Apply(const Backend& backend, int num_threads) {
  TestStream test(num_threads);
  Matrix<bf16> y(query_start_.back(), shape_.num_heads * shape_.head_dim);
  backend.Attention(Args(y.view()), test.stream);
  return y;
}

AttentionSequence RandomSequence(std::mt19937& random, const AttentionShape& shape, Values values,
                                 int64_t context, int64_t rows) {
  const int64_t kv_cols = shape.num_kv_heads * shape.head_dim;
  return {RandomMatrix(random, values, rows, shape.num_heads * shape.head_dim),
          RandomMatrix(random, values, context, kv_cols),
          RandomMatrix(random, values, context, kv_cols)};
}

bool TakesHeads(const Backend& backend, const AttentionShape& shape) {
  return backend
      .MakeAttentionPlan({.max_tokens = 1,
                          .max_sequences = 1,
                          .num_heads = shape.num_heads,
                          .num_kv_heads = shape.num_kv_heads,
                          .head_dim = shape.head_dim})
      .ok();
}

Matrix<bf16> ApplyAttention(const Backend& backend, const AttentionShape& shape,
                            const std::vector<AttentionSequence>& sequences, int64_t block_size,
                            int num_threads, const AttentionMask& mask) {
  int64_t num_blocks = 2;
  for (const AttentionSequence& s : sequences) {
    num_blocks += (s.k.rows() + block_size - 1) / block_size;
  }
  AttentionCall call(shape, block_size, num_blocks, mask);
  for (const AttentionSequence& sequence : sequences) call.Add(sequence);
  return call.Apply(backend, num_threads);
}

}  // namespace vexact
