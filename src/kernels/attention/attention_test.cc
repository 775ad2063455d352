#include "kernels/attention/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/attention/attention_reference.h"
#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"

namespace vexact {
namespace {

struct Shape {
  int64_t num_heads;
  int64_t num_kv_heads;
  int64_t head_dim;
};

// One sequence's keys and values by position, and the query rows of one call.
struct Sequence {
  Matrix<bf16> q;  // [rows, heads * head_dim], at the last positions of k
  Matrix<bf16> k;  // [context, kv_heads * head_dim]
  Matrix<bf16> v;
};

// A poisoned pool into which sequences are put, in shuffled blocks, and the call's other arrays.
class Call {
 public:
  Call(const Shape& shape, int64_t block_size, int64_t num_blocks)
      : shape_(shape),
        pool_(static_cast<size_t>(num_blocks * BlockElements(shape, block_size)), Poison<bf16>()) {
    kv_ = {pool_.data(),       num_blocks,     block_size,
           shape.num_kv_heads, shape.head_dim, BlockElements(shape, block_size)};
    free_blocks_.resize(static_cast<size_t>(num_blocks));
    std::iota(free_blocks_.begin(), free_blocks_.end(), 0);
    std::shuffle(free_blocks_.begin(), free_blocks_.end(), std::mt19937(5));
  }

  void Add(const Sequence& sequence) {
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
    }
    query_start_.push_back(static_cast<int32_t>(query_start_.back() + sequence.q.rows()));
    context_len_.push_back(static_cast<int32_t>(sequence.k.rows()));
  }

  // y must be [all query rows, heads * head_dim].
  AttentionArgs Args(Rows<bf16> y) {
    size_t stride = 0;
    for (const auto& table : tables_) stride = std::max(stride, table.size() + 1);
    block_tables_.assign(tables_.size() * stride, std::numeric_limits<int32_t>::max());
    for (size_t s = 0; s < tables_.size(); ++s) {
      std::copy(tables_[s].begin(), tables_[s].end(), block_tables_.begin() + s * stride);
    }
    const int64_t cols = shape_.num_heads * shape_.head_dim;
    return {.q = Rows<const bf16>(q_.data(), query_start_.back(), cols),
            .y = y,
            .num_heads = shape_.num_heads,
            .kv = kv_,
            .num_sequences = static_cast<int64_t>(tables_.size()),
            .query_start = query_start_.data(),
            .context_len = context_len_.data(),
            .block_tables = block_tables_.data(),
            .block_table_stride = static_cast<int64_t>(stride)};
  }

  Matrix<bf16> Apply(const Backend& backend, int num_threads = 2) {
    TestStream test(num_threads);
    Matrix<bf16> y(query_start_.back(), shape_.num_heads * shape_.head_dim);
    backend.Attention(Args(y.view()), test.stream);
    return y;
  }

 private:
  static int64_t BlockElements(const Shape& shape, int64_t block_size) {
    return 2 * shape.num_kv_heads * block_size * shape.head_dim;
  }

  Shape shape_;
  std::vector<bf16> pool_;
  PagedKv kv_;
  std::vector<int32_t> free_blocks_;
  std::vector<std::vector<int32_t>> tables_;
  std::vector<bf16> q_;
  std::vector<int32_t> query_start_ = {0};
  std::vector<int32_t> context_len_;
  std::vector<int32_t> block_tables_;
};

struct OracleCase {
  Shape shape;
  int64_t context;
  std::vector<int32_t> positions;  // of its query rows
  Matrix<bf16> q, k, v;
};

OracleCase ReadCase(int i) {
  const std::string name = "attention." + std::to_string(i) + ".";
  const auto q = OperatorOracle().Get(name + "q").shape;  // [rows, heads, head_dim]
  const auto k = OperatorOracle().Get(name + "k").shape;  // [context, kv_heads, head_dim]
  const auto positions = OperatorOracle().Get(name + "q_positions").As<int32_t>();
  return {.shape = {q[1], k[1], q[2]},
          .context = k[0],
          .positions = {positions.begin(), positions.end()},
          .q = OracleMatrix<bf16>(name + "q", q[1] * q[2]),
          .k = OracleMatrix<bf16>(name + "k", k[1] * k[2]),
          .v = OracleMatrix<bf16>(name + "v", k[1] * k[2])};
}

Matrix<bf16> RowsOf(const Matrix<bf16>& matrix, int64_t begin, int64_t end) {
  Matrix<bf16> rows(end - begin, matrix.cols());
  for (int64_t r = begin; r < end; ++r) std::copy_n(matrix[r], matrix.cols(), rows[r - begin]);
  return rows;
}

// The oracle's query rows stand at arbitrary positions: each becomes a sequence of its own, which
// holds keys and values up to that position, the rest of its last block poisoned.
Call OracleCall(const OracleCase& c, int64_t block_size) {
  int64_t blocks = 0;
  for (const int32_t position : c.positions) blocks += position / block_size + 1;
  Call call(c.shape, block_size, blocks + 3);
  for (size_t r = 0; r < c.positions.size(); ++r) {
    const auto row = static_cast<int64_t>(r);
    call.Add({RowsOf(c.q, row, row + 1), RowsOf(c.k, 0, c.positions[r] + 1),
              RowsOf(c.v, 0, c.positions[r] + 1)});
  }
  return call;
}

TEST(Attention, EqualsTheOracle) {
  for (const NamedBackend& b : AllBackends()) {
    for (int i = 0; i < 9; ++i) {
      for (const int64_t block_size : {16, 32, 64}) {
        SCOPED_TRACE(b.name + ", case " + std::to_string(i));
        const OracleCase c = ReadCase(i);
        const auto y = OracleMatrix<bf16>("attention." + std::to_string(i) + ".y_segment_256",
                                          c.shape.num_heads * c.shape.head_dim);
        EXPECT_TRUE(SameBits(OracleCall(c, block_size).Apply(*b.backend), y));
      }
    }
  }
}

// The fp32 values tell wrong orders apart better than bf16; other segments show that their length
// is what the name says.
TEST(AttentionReference, EqualsTheOracleBeforeTheLastRoundingForEverySegment) {
  const std::pair<std::string, int64_t> segments[] = {
      {"256", 256}, {"512", 512}, {"unlimited", int64_t{1} << 40}};
  for (int i = 0; i < 9; ++i) {
    const OracleCase c = ReadCase(i);
    Call call = OracleCall(c, 16);
    for (const auto& [segment_name, segment] : segments) {
      SCOPED_TRACE("case " + std::to_string(i) + ", segment " + segment_name);
      const int64_t cols = c.shape.num_heads * c.shape.head_dim;
      const auto wanted = OracleMatrix<float>(
          "attention." + std::to_string(i) + ".fp32_segment_" + segment_name, cols);
      Matrix<float> y(wanted.rows(), cols);
      Matrix<bf16> unused(wanted.rows(), cols);
      const AttentionArgs args = call.Args(unused.view());
      for (int64_t r = 0; r < y.rows(); ++r) {
        for (int64_t h = 0; h < c.shape.num_heads; ++h) {
          AttentionRowReference(args, {r, r, c.positions[static_cast<size_t>(r)], h}, segment,
                                y[r] + h * c.shape.head_dim);
        }
      }
      EXPECT_TRUE(SameBits(y, wanted));
    }
  }
}

}  // namespace
}  // namespace vexact
