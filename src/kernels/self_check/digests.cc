#include "kernels/self_check/digests.h"

#include <algorithm>
#include <utility>

#include "base/sha256.h"

namespace vexact {
namespace {

// The largest call: logits of 2048 rows and 151936 ids, and their sums.
constexpr size_t kArenaBytes = size_t{3} << 30;

constexpr size_t kNumBlocks = std::size(kDigestRows);
int64_t BlockBegin(size_t block) { return block == 0 ? 0 : kDigestRows[block - 1]; }

// The numbers of rows that are no more than `max_rows`.
std::span<const int64_t> RowsUpTo(int64_t max_rows) {
  return {std::begin(kDigestRows),
          std::upper_bound(std::begin(kDigestRows), std::end(kDigestRows), max_rows)};
}

// A case on a backend: its weight and the memory of its calls.
class DigestRun {
 public:
  static Result<DigestRun> Create(const DigestCase& digest_case, const Backend& backend,
                                  ThreadPool& pool) {
    DigestRun run(digest_case, backend, pool);
    VX_ASSIGN_OR_RETURN(run.arena_, backend.Allocate(kArenaBytes));
    VX_ASSIGN_OR_RETURN(run.stream_, backend.MakeStream(&pool));
    const LinearProblem& problem = digest_case.problem;
    if (problem.out_features > 0) {
      // Of the size that weights have, so that sums stay near the values that models have.
      const CheckInput input{60, CheckValues::kUniform, 0.05f};
      const auto rows = MakeRows<bf16>(input, 0, problem.out_features, problem.in_features, pool);
      VX_ASSIGN_OR_RETURN(run.weight_, backend.PackLinear(Rows(rows.data(), problem.out_features,
                                                               problem.in_features)));
    }
    return run;
  }

  // The SHA-256 of each row of [begin, end).
  Result<std::vector<std::array<uint8_t, 32>>> RowDigests(int64_t begin, int64_t end) {
    OperatorCall call(backend_, arena_, stream_.stream);
    VX_RETURN_IF_ERROR(digest_case_.run(call, &weight_, begin, end));
    VX_RETURN_IF_ERROR(call.Finish());
    std::vector<std::array<uint8_t, 32>> digests(static_cast<size_t>(end - begin));
    pool_.ParallelFor(end - begin, [&](int64_t r) {
      Sha256 sha;
      std::vector<uint32_t> words;
      for (const CallOutput& output : call.outputs()) {
        words.clear();
        output.AppendRow(r, words);
        sha.Update(std::as_bytes(std::span<const uint32_t>(words)));
      }
      digests[static_cast<size_t>(r)] = sha.Finish();
    });
    return digests;
  }

 private:
  DigestRun(const DigestCase& digest_case, const Backend& backend, ThreadPool& pool)
      : digest_case_(digest_case), backend_(backend), pool_(pool) {}

  const DigestCase& digest_case_;
  const Backend& backend_;
  ThreadPool& pool_;
  Buffer arena_;
  OwnedStream stream_;
  LinearWeight weight_;
};

std::string BlockDigest(std::span<const std::array<uint8_t, 32>> rows) {
  Sha256 sha;
  sha.Update(std::as_bytes(rows));
  return sha.FinishHex();
}

std::string BlockName(size_t block) {
  return fmt::format("rows {} to {}", BlockBegin(block), kDigestRows[block] - 1);
}

// Blocks [first, last] in one call.
Status CompareBlocks(DigestRun& run, const OperatorDigests& recorded, size_t first, size_t last,
                     DigestComparison& comparison) {
  const int64_t begin = BlockBegin(first);
  VX_ASSIGN_OR_RETURN(const auto rows, run.RowDigests(begin, kDigestRows[last]));
  for (size_t block = first; block <= last; ++block) {
    const auto from = static_cast<size_t>(BlockBegin(block) - begin);
    const auto count = static_cast<size_t>(kDigestRows[block] - BlockBegin(block));
    ++comparison.num_blocks;
    comparison.num_rows += static_cast<int64_t>(count);
    if (BlockDigest(std::span(rows).subspan(from, count)) != recorded.blocks[block]) {
      comparison.differing.push_back(BlockName(block));
    }
  }
  return {};
}

}  // namespace

Result<OperatorDigests> RecordDigests(const DigestCase& digest_case, int64_t max_rows,
                                      const Backend& backend, ThreadPool& pool) {
  if (digest_case.problem.out_features > 0) {
    VX_RETURN_IF_ERROR(backend.PrepareLinear({&digest_case.problem, 1}, kDigestRows));
  }
  VX_ASSIGN_OR_RETURN(DigestRun run, DigestRun::Create(digest_case, backend, pool));
  VX_ASSIGN_OR_RETURN(const auto all, run.RowDigests(0, kDigestRows[kNumBlocks - 1]));
  for (const int64_t rows : RowsUpTo(max_rows)) {
    VX_ASSIGN_OR_RETURN(const auto some, run.RowDigests(0, rows));
    const auto differs = std::mismatch(some.begin(), some.end(), all.begin()).first;
    if (differs != some.end()) {
      return MakeError(ErrorCode::kInternal,
                       "{}: expected a row's bits to be those of every number of rows, found "
                       "row {} of {} with other bits than among {}",
                       digest_case.name, differs - some.begin(), rows, all.size());
    }
  }
  OperatorDigests digests{digest_case.name, {}};
  for (size_t block = 0; block < kNumBlocks; ++block) {
    const auto from = static_cast<size_t>(BlockBegin(block));
    const auto count = static_cast<size_t>(kDigestRows[block]) - from;
    digests.blocks.push_back(BlockDigest(std::span(all).subspan(from, count)));
  }
  return digests;
}

Result<DigestComparison> CompareDigests(const DigestCase& digest_case,
                                        const OperatorDigests& recorded, int64_t max_rows,
                                        const Backend& backend, ThreadPool& pool) {
  VX_ASSIGN_OR_RETURN(DigestRun run, DigestRun::Create(digest_case, backend, pool));
  DigestComparison comparison;
  const size_t inside = RowsUpTo(max_rows).size();
  if (inside > 0) {
    VX_RETURN_IF_ERROR(CompareBlocks(run, recorded, 0, inside - 1, comparison));
  }
  for (size_t block = inside; block < kNumBlocks; ++block) {
    if (kDigestRows[block] - BlockBegin(block) > 1) continue;
    VX_RETURN_IF_ERROR(CompareBlocks(run, recorded, block, block, comparison));
  }
  return comparison;
}

}  // namespace vexact
