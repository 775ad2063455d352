// Calls of the attention operator for tests: sequences given by position, put into a poisoned paged
// pool.
#ifndef VEXACT_SUPPORT_ATTENTION_CALL_H_
#define VEXACT_SUPPORT_ATTENTION_CALL_H_

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/backend.h"
#include "support/matrix.h"

namespace vexact {

struct AttentionShape {
  int64_t num_heads;
  int64_t num_kv_heads;
  int64_t head_dim;
};

// One sequence's keys and values by position, and the query rows of one call.
struct AttentionSequence {
  Matrix<bf16> q;  // [rows, heads * head_dim], at the last positions of k
  Matrix<bf16> k;  // [context, kv_heads * head_dim]
  Matrix<bf16> v;
  int32_t prefix_len = 0;               // of mask prefix-lm
  std::vector<int32_t> documents = {};  // [context], of mask document: each position's
};

AttentionSequence RandomSequence(std::mt19937& random, const AttentionShape& shape, Values values,
                                 int64_t context, int64_t rows);

// A poisoned pool into which sequences are put, in shuffled blocks, and the call's other arrays.
class AttentionCall {
 public:
  AttentionCall(const AttentionShape& shape, int64_t block_size, int64_t num_blocks,
                const AttentionMask& mask = {});  // its reach follows from the sequences

  void Add(const AttentionSequence& sequence);

  // y is [all query rows, heads * head_dim]. The arguments point into this call.
  AttentionArgs Args(Rows<bf16> y);

  Matrix<bf16> Apply(const Backend& backend, int num_threads = 2);

 private:
  AttentionShape shape_;
  AttentionMask mask_;
  std::vector<bf16> pool_;
  PagedKv kv_;
  std::vector<int32_t> free_blocks_;
  std::vector<std::vector<int32_t>> tables_;  // of each sequence
  std::vector<bf16> q_;                       // [query rows, heads * head_dim]
  std::vector<int32_t> reach_;                // [query rows], if the mask has one
  std::vector<int32_t> query_start_ = {0};
  int64_t max_rows_ = 0;  // of a sequence
  std::vector<int32_t> context_len_;
  std::vector<int32_t> block_table_start_;
  std::vector<int32_t> block_tables_;
};

// Whether the backend has kernels for heads of this size; a CPU takes any.
bool TakesHeads(const Backend& backend, const AttentionShape& shape);

// The answer for all query rows of the sequences, in one call over a pool of their own.
Matrix<bf16> ApplyAttention(const Backend& backend, const AttentionShape& shape,
                            const std::vector<AttentionSequence>& sequences, int64_t block_size,
                            int num_threads = 2, const AttentionMask& mask = {});

}  // namespace vexact

#endif  // VEXACT_SUPPORT_ATTENTION_CALL_H_
