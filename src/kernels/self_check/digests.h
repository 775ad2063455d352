// Digests of every operator at the shapes of two models, recorded on one device and recomputed on
// another: evidence that both have the same bits where words are too many to keep.
//
// Inputs are nested: M rows are the first M of one matrix, so the digests of all numbers of rows
// are those of the blocks of rows between them, and a device without time for all rows recomputes
// some blocks. A block's digest is the SHA-256 of its rows' SHA-256 in order, a row's that of its
// canonical words (32 bits each, little-endian), output after output.
#ifndef VEXACT_KERNELS_SELF_CHECK_DIGESTS_H_
#define VEXACT_KERNELS_SELF_CHECK_DIGESTS_H_

#include <functional>
#include <string>
#include <vector>

#include "kernels/self_check/operator_call.h"

namespace vexact {

inline constexpr int64_t kDigestRows[] = {1,   2,   7,   8,   9,   15,   16,   17,
                                          31,  33,  63,  64,  65,  127,  128,  129,
                                          255, 256, 257, 511, 512, 1000, 2047, 2048};

struct DigestCase {
  std::string name;            // "linear qkv of Qwen3-1.7B, 2048 -> 4096"
  LinearProblem problem = {};  // out_features 0: not a linear
  // Rows [begin, end); every output has end - begin rows. `weight` is the problem's.
  std::function<Status(OperatorCall& call, const LinearWeight* weight, int64_t begin, int64_t end)>
      run = {};
};
std::vector<DigestCase> DigestCases();

struct OperatorDigests {
  std::string name;
  std::vector<std::string> blocks;  // of kDigestRows: rows [kDigestRows[i - 1], kDigestRows[i])
};

// Runs a case at the most rows, and again at every number of rows up to `max_rows`. Errors: no
// memory; a failed device; kInternal if rows have other bits at another number of rows, naming
// both.
Result<OperatorDigests> RecordDigests(const DigestCase& digest_case, int64_t max_rows,
                                      const Backend& backend, ThreadPool& pool);

struct DigestComparison {
  int64_t num_blocks = 0;
  int64_t num_rows = 0;
  std::vector<std::string> differing;  // "rows 15 to 16"
};
// Recomputes all blocks of the first `max_rows` rows, and those behind that are one row.
Result<DigestComparison> CompareDigests(const DigestCase& digest_case,
                                        const OperatorDigests& recorded, int64_t max_rows,
                                        const Backend& backend, ThreadPool& pool);

}  // namespace vexact

#endif  // VEXACT_KERNELS_SELF_CHECK_DIGESTS_H_
