#include "kernels/attention/attention.h"

#include <gtest/gtest.h>

#include "kernels/attention/attention_reference.h"
#include "support/attention_call.h"
#include "support/attention_exact.h"
#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

struct OracleCase {
  AttentionShape shape;
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

// The oracle's query rows stand at arbitrary positions: each becomes a sequence of its own, which
// holds keys and values up to that position, the rest of its last block poisoned.
AttentionCall OracleCall(const OracleCase& c, int64_t block_size) {
  int64_t blocks = 0;
  for (const int32_t position : c.positions) blocks += position / block_size + 1;
  AttentionCall call(c.shape, block_size, blocks + 3);
  for (size_t r = 0; r < c.positions.size(); ++r) {
    const auto row = static_cast<int64_t>(r);
    call.Add({RowsOf(c.q, row, row + 1), RowsOf(c.k, 0, c.positions[r] + 1),
              RowsOf(c.v, 0, c.positions[r] + 1)});
  }
  return call;
}

TEST(Attention, EqualsTheOracle) {
  for (const NamedBackend& b : AttentionBackends()) {
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
    AttentionCall call = OracleCall(c, 16);
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

// Groups of one, two, three and seven query heads a KV head; head sizes that are and are not
// multiples of a dot16 group and of a vector.
constexpr AttentionShape kShapes[] = {{4, 2, 64}, {2, 2, 128}, {9, 3, 64}, {7, 1, 32},
                                      {2, 1, 16}, {3, 3, 80},  {2, 1, 24}, {1, 1, 256}};
std::vector<NamedBackend> BackendsFor(const AttentionShape& shape) {
  std::vector<NamedBackend> backends = AttentionBackends();
  std::erase_if(backends, [&](const NamedBackend& b) { return !TakesHeads(*b.backend, shape); });
  return backends;
}

// At the edges of blocks, tiles and segments.
constexpr int64_t kContexts[] = {1,   2,   15,  16,  17,  63,  64,  65,  127, 128, 129,
                                 130, 255, 256, 257, 383, 385, 511, 512, 513, 640, 770};
constexpr int64_t kBlockSizes[] = {16, 32, 64};

TEST(Attention, EqualsTheReferenceAtTileEdgesForAllValuesUnderFlushToZero) {
  const auto reference = MakeReferenceBackend();
  std::mt19937 random(1);
  for (const Values values : kFiniteValues) {
    for (const AttentionShape& shape : kShapes) {
      for (int i = 0; i < ScaledCases(3); ++i) {
        std::vector<AttentionSequence> sequences;
        for (int s = 0; s < 3; ++s) {  // decode rows and prefill chunks in one call
          const int64_t context = Pick(random, kContexts);
          const int64_t rows = std::min<int64_t>(context, s == 0 ? 1 : 1 + random() % 6);
          sequences.push_back(RandomSequence(random, shape, values, context, rows));
        }
        const auto y = ApplyAttention(*reference, shape, sequences, 16);
        const int64_t block_size = Pick(random, kBlockSizes);
        const ScopedFlushToZero host;
        for (const NamedBackend& b : BackendsFor(shape)) {
          SCOPED_TRACE(fmt::format("{}, values {}, heads {} / {} of {}, contexts {} {} {}", b.name,
                                   static_cast<int>(values), shape.num_heads, shape.num_kv_heads,
                                   shape.head_dim, sequences[0].k.rows(), sequences[1].k.rows(),
                                   sequences[2].k.rows()));
          EXPECT_TRUE(SameBits(ApplyAttention(*b.backend, shape, sequences, block_size), y));
        }
      }
    }
  }
}

TEST(Attention, EqualsTheReferenceForEveryContextOfADecodeRow) {
  const auto reference = MakeReferenceBackend();
  std::mt19937 random(2);
  const AttentionShape shape{2, 1, 64};
  for (const int64_t context : kContexts) {
    const std::vector<AttentionSequence> sequence = {
        RandomSequence(random, shape, Values::kNormal, context, 1)};
    const auto y = ApplyAttention(*reference, shape, sequence, 32);
    for (const NamedBackend& b : AttentionBackends()) {
      for (const int64_t block_size : kBlockSizes) {
        EXPECT_TRUE(SameBits(ApplyAttention(*b.backend, shape, sequence, block_size), y))
            << b.name << ", context " << context << ", blocks of " << block_size;
      }
    }
  }
}

// A query with infinities or NaN, and scores that overflow: the answer is the reference's.
TEST(Attention, EqualsTheReferenceForQueriesThatAreNotFinite) {
  const auto reference = MakeReferenceBackend();
  std::mt19937 random(3);
  const AttentionShape shape{4, 2, 64};
  for (const Values values : {Values::kSpecial, Values::kAnyWord}) {
    for (int i = 0; i < ScaledCases(6); ++i) {
      std::vector<AttentionSequence> sequences = {
          RandomSequence(random, shape, Values::kNormal, Pick(random, kContexts), 1)};
      sequences[0].q = RandomMatrix(random, values, 1, 256);
      const auto y = ApplyAttention(*reference, shape, sequences, 16);
      for (const NamedBackend& b : AttentionBackends()) {
        EXPECT_TRUE(SameBits(ApplyAttention(*b.backend, shape, sequences, 16), y)) << b.name;
      }
    }
  }
}

TEST(Attention, ARowHasItsBitsInEveryChunkAndBatch) {
  std::mt19937 random(4);
  const AttentionShape shape{4, 2, 32};
  const AttentionSequence whole = RandomSequence(random, shape, Values::kNormal, 300, 300);
  const AttentionSequence stranger = RandomSequence(random, shape, Values::kNormal, 140, 3);
  AttentionSequence poisoned = RandomSequence(random, shape, Values::kNormal, 40, 5);
  poisoned.q.Fill(Poison<bf16>());
  poisoned.k.Fill(Poison<bf16>());
  poisoned.v.Fill(Poison<bf16>());
  for (const NamedBackend& b : AttentionBackends()) {
    const auto prefill = ApplyAttention(*b.backend, shape, {whole}, 16);
    for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{{0, 1},
                                                                             {0, 17},
                                                                             {100, 164},
                                                                             {120, 140},
                                                                             {127, 128},
                                                                             {128, 129},
                                                                             {255, 257},
                                                                             {256, 300},
                                                                             {299, 300}}) {
      SCOPED_TRACE(fmt::format("{}, rows {} to {}", b.name, begin, end));
      const AttentionSequence chunk = {RowsOf(whole.q, begin, end), RowsOf(whole.k, 0, end),
                                       RowsOf(whole.v, 0, end)};
      const auto wanted = RowsOf(prefill, begin, end);
      EXPECT_TRUE(SameBits(ApplyAttention(*b.backend, shape, {chunk}, 32), wanted));
      const auto y =
          ApplyAttention(*b.backend, shape, {stranger, poisoned, chunk, stranger}, 16, 3);
      EXPECT_TRUE(SameBits(RowsOf(y, 8, 8 + end - begin), wanted));
    }
  }
}

// Alone a GPU cuts it into segments; beside so many its blocks take whole heads.
TEST(Attention, ADecodeRowHasItsBitsBesideMany) {
  std::mt19937 random(7);
  for (const AttentionShape& shape : {AttentionShape{4, 2, 64}, AttentionShape{2, 1, 128}}) {
    std::vector<AttentionSequence> sequences;
    for (int i = 0; i < ScaledCases(110, 25); ++i) {
      sequences.push_back(
          RandomSequence(random, shape, Values::kNormal, Pick(random, kContexts), 1));
    }
    for (const NamedBackend& b : AttentionBackends()) {
      const auto y = ApplyAttention(*b.backend, shape, sequences, 16);
      for (size_t i = 0; i < sequences.size(); i += 5) {
        const auto row = static_cast<int64_t>(i);
        EXPECT_TRUE(SameBits(RowsOf(y, row, row + 1),
                             ApplyAttention(*b.backend, shape, {sequences[i]}, 16)))
            << b.name << ", sequence " << i;
      }
    }
  }
}

TEST(Attention, ARowDoesNotReadLaterPositionsOfItsOwnChunk) {
  std::mt19937 random(5);
  const AttentionShape shape{2, 1, 64};
  const AttentionSequence clean = RandomSequence(random, shape, Values::kNormal, 290, 290);
  for (const NamedBackend& b : AttentionBackends()) {
    const auto wanted = ApplyAttention(*b.backend, shape, {clean}, 16);
    for (const int64_t first_bad : {1, 16, 128, 257}) {
      AttentionSequence dirty = clean;
      for (int64_t p = first_bad; p < 290; ++p) {
        std::fill_n(dirty.k[p], 64, Poison<bf16>());
        std::fill_n(dirty.v[p], 64, bf16{0x7f80});
      }
      const auto y = ApplyAttention(*b.backend, shape, {dirty}, 16);
      EXPECT_TRUE(SameBits(RowsOf(y, 0, first_bad), RowsOf(wanted, 0, first_bad)))
          << b.name << ", poison from position " << first_bad;
    }
  }
}

TEST(Attention, ASequenceWithoutRowsInThisCallChangesNothing) {
  std::mt19937 random(6);
  const AttentionShape shape{2, 1, 32};
  const AttentionSequence a = RandomSequence(random, shape, Values::kNormal, 20, 2);
  const AttentionSequence idle = RandomSequence(random, shape, Values::kNormal, 30, 0);
  for (const NamedBackend& b : AttentionBackends()) {
    EXPECT_TRUE(SameBits(ApplyAttention(*b.backend, shape, {idle, a, idle}, 16),
                         ApplyAttention(*b.backend, shape, {a}, 16)))
        << b.name;
  }
}

TEST(Attention, IsWithinItsDerivedErrorOfFloat64) {
  std::mt19937 random(7);
  for (const AttentionShape& shape : kShapes) {
    const AttentionSequence s = RandomSequence(random, shape, Values::kNormal, 600, 2);
    for (const NamedBackend& b : BackendsFor(shape)) {
      const auto y = ApplyAttention(*b.backend, shape, {s}, 16);
      for (int64_t row = 0; row < 2; ++row) {
        SCOPED_TRACE(fmt::format("{}, head_dim {}", b.name, shape.head_dim));
        ExpectWithinError(y, s, shape, row, {});
      }
    }
  }
}

}  // namespace
}  // namespace vexact
