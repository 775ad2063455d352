// Every mask: the reference's bits, a float64 softmax, chunks and batches, and what is not read.
#include "kernels/attention/attention_mask.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <span>
#include <vector>

#include "support/attention_call.h"
#include "support/attention_exact.h"
#include "support/backends.h"
#include "support/matrix.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

constexpr AttentionMask kMasks[] = {
    {MaskKind::kCausal},
    {MaskKind::kSlidingWindow, 1},
    {MaskKind::kSlidingWindow, 100},
    {MaskKind::kSlidingWindow, 128},
    {MaskKind::kSlidingWindow, 300},
    {MaskKind::kPrefixLm},
    {MaskKind::kDocument},
};
std::string NameOf(const AttentionMask& mask) {
  return fmt::format("mask {} window {}", static_cast<int>(mask.kind), mask.window);
}

// Decode rows with one and several heads a KV head, and head sizes of both of the GPU's prefills.
constexpr AttentionShape kShapes[] = {{4, 2, 64}, {7, 1, 32}, {2, 2, 128}, {2, 1, 16}};
constexpr int64_t kContexts[] = {1,   16,  17,  127, 128, 129, 255, 256,
                                 257, 384, 385, 511, 513, 640, 770};
// The first `count` of the shapes; the first alone where tests are slow.
std::span<const AttentionShape> Shapes(int count) {
  return std::span(kShapes).first(static_cast<size_t>(ScaledCases(count)));
}

// With a prefix, and documents of any lengths.
AttentionSequence AnySequence(std::mt19937& random, const AttentionShape& shape, Values values,
                              int64_t context, int64_t rows) {
  AttentionSequence s = RandomSequence(random, shape, values, context, rows);
  // A prefix is computed whole: it ends before the rows, or they begin with the sequence.
  s.prefix_len =
      static_cast<int32_t>(random() % ((rows == context ? context : context - rows) + 1));
  const auto longest = static_cast<int64_t>(1 + random() % 400);
  while (static_cast<int64_t>(s.documents.size()) < context) {
    const auto length = std::min<int64_t>(1 + static_cast<int64_t>(random() % longest),
                                          context - static_cast<int64_t>(s.documents.size()));
    const int32_t id = s.documents.empty() ? 0 : s.documents.back() + 1;
    s.documents.insert(s.documents.end(), static_cast<size_t>(length), id);
  }
  return s;
}

TEST(AttentionMask, EqualsTheReferenceAtTileEdgesUnderEveryMask) {
  const auto reference = MakeReferenceBackend();
  std::mt19937 random(1);
  for (const AttentionMask& mask : kMasks) {
    for (const AttentionShape& shape : Shapes(4)) {
      for (const Values values : {Values::kNormal, Values::kWide}) {
        std::vector<AttentionSequence> sequences;
        for (int s = 0; s < 4; ++s) {  // a prompt, a decode row and chunks in one call
          const int64_t context = s == 0 ? 140 : Pick(random, kContexts);
          const int64_t rows = s == 0 ? 140 : s == 1 ? 1 : 1 + random() % 20;
          sequences.push_back(AnySequence(random, shape, values, context, std::min(rows, context)));
        }
        const auto y = ApplyAttention(*reference, shape, sequences, 16, 2, mask);
        for (const NamedBackend& b : AllBackends()) {
          SCOPED_TRACE(fmt::format("{}, {}, heads {} / {} of {}", b.name, NameOf(mask),
                                   shape.num_heads, shape.num_kv_heads, shape.head_dim));
          EXPECT_TRUE(SameBits(ApplyAttention(*b.backend, shape, sequences, 32, 3, mask), y));
        }
      }
    }
  }
}

TEST(AttentionMask, EqualsTheReferenceForDecodeRowsOfEveryContext) {
  const auto reference = MakeReferenceBackend();
  std::mt19937 random(2);
  const AttentionShape shape{2, 1, 64};
  for (const AttentionMask& mask : kMasks) {
    for (const int64_t context : kContexts) {
      const std::vector<AttentionSequence> sequence = {
          AnySequence(random, shape, Values::kNormal, context, std::min<int64_t>(context, 3))};
      const auto y = ApplyAttention(*reference, shape, sequence, 32, 1, mask);
      for (const NamedBackend& b : AllBackends()) {
        EXPECT_TRUE(SameBits(ApplyAttention(*b.backend, shape, sequence, 16, 2, mask), y))
            << b.name << ", " << NameOf(mask) << ", context " << context;
      }
    }
  }
}

TEST(AttentionMask, IsWithinItsDerivedErrorOfFloat64) {
  std::mt19937 random(3);
  for (const AttentionMask& mask : kMasks) {
    for (const AttentionShape& shape : Shapes(2)) {
      const AttentionSequence s = AnySequence(random, shape, Values::kNormal, 300, 300);
      for (const NamedBackend& b : AllBackends()) {
        const auto y = ApplyAttention(*b.backend, shape, {s}, 16, 2, mask);
        for (const int64_t row : {0, 1, 99, 100, 127, 128, 255, 299}) {
          SCOPED_TRACE(fmt::format("{}, {}, row {}", b.name, NameOf(mask), row));
          ExpectWithinError(y, s, shape, row, mask);
        }
      }
    }
  }
}

TEST(AttentionMask, ARowHasItsBitsInEveryChunkAndBatch) {
  std::mt19937 random(4);
  const AttentionShape shape{4, 2, 64};
  AttentionSequence whole = AnySequence(random, shape, Values::kNormal, 300, 300);
  whole.prefix_len = 70;
  const AttentionSequence stranger = AnySequence(random, shape, Values::kNormal, 140, 3);
  for (const AttentionMask& mask : kMasks) {
    for (const NamedBackend& b : AllBackends()) {
      const auto prefill = ApplyAttention(*b.backend, shape, {whole}, 16, 2, mask);
      for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{{0, 70},
                                                                               {0, 129},
                                                                               {70, 71},
                                                                               {100, 164},
                                                                               {127, 128},
                                                                               {128, 129},
                                                                               {255, 257},
                                                                               {256, 300},
                                                                               {299, 300}}) {
        SCOPED_TRACE(fmt::format("{}, {}, rows {} to {}", b.name, NameOf(mask), begin, end));
        AttentionSequence chunk = {RowsOf(whole.q, begin, end), RowsOf(whole.k, 0, end),
                                   RowsOf(whole.v, 0, end), whole.prefix_len, whole.documents};
        const auto wanted = RowsOf(prefill, begin, end);
        EXPECT_TRUE(SameBits(ApplyAttention(*b.backend, shape, {chunk}, 32, 2, mask), wanted));
        const auto y = ApplyAttention(*b.backend, shape, {stranger, chunk, stranger}, 16, 3, mask);
        EXPECT_TRUE(SameBits(RowsOf(y, 3, 3 + end - begin), wanted));
      }
    }
  }
}

// Positions that one row of a chunk does not see hold NaN and infinity; rows beside it may see
// them.
TEST(AttentionMask, ARowReadsNothingThatItDoesNotSee) {
  constexpr int64_t kContext = 290;
  std::mt19937 random(5);
  for (const AttentionShape& shape : {AttentionShape{2, 1, 64}, AttentionShape{2, 1, 32}}) {
    for (const AttentionMask& mask :
         {AttentionMask{MaskKind::kSlidingWindow, 100}, AttentionMask{MaskKind::kPrefixLm},
          AttentionMask{MaskKind::kDocument}}) {
      AttentionSequence clean = AnySequence(random, shape, Values::kNormal, kContext, kContext);
      clean.prefix_len = 40;
      for (const int64_t first_row : {int64_t{0}, kContext - 1}) {  // a prompt, and a decode row
        clean.q = RandomMatrix(random, Values::kNormal, kContext - first_row, clean.q.cols());
        for (const int64_t position : {int64_t{39}, int64_t{130}, kContext - 1}) {
          if (position < first_row) continue;
          AttentionSequence dirty = clean;
          for (int64_t p = 0; p < kContext; ++p) {
            if (Sees(mask, clean, position, p)) continue;
            std::fill_n(dirty.k[p], shape.head_dim, Poison<bf16>());
            std::fill_n(dirty.v[p], shape.head_dim, p % 2 == 0 ? Poison<bf16>() : bf16{0x7f80});
          }
          const int64_t row = position - first_row;
          for (const NamedBackend& b : AllBackends()) {
            const auto wanted = ApplyAttention(*b.backend, shape, {clean}, 16, 2, mask);
            const auto y = ApplyAttention(*b.backend, shape, {dirty}, 16, 2, mask);
            EXPECT_TRUE(SameBits(RowsOf(y, row, row + 1), RowsOf(wanted, row, row + 1)))
                << b.name << ", " << NameOf(mask) << ", position " << position;
          }
        }
      }
    }
  }
}

// The causal mask's bits: a window of the whole context, one document, no prefix.
TEST(AttentionMask, AMaskThatHidesNothingHasTheCausalBits) {
  std::mt19937 random(6);
  const AttentionShape shape{4, 2, 64};
  AttentionSequence s = RandomSequence(random, shape, Values::kNormal, 270, 270);
  s.documents.assign(270, 4);
  for (const NamedBackend& b : AllBackends()) {
    const auto causal = ApplyAttention(*b.backend, shape, {s}, 16);
    for (const AttentionMask& mask :
         {AttentionMask{MaskKind::kSlidingWindow, 270},
          AttentionMask{MaskKind::kSlidingWindow, 1 << 30}, AttentionMask{MaskKind::kPrefixLm},
          AttentionMask{MaskKind::kDocument}}) {
      EXPECT_TRUE(SameBits(ApplyAttention(*b.backend, shape, {s}, 16, 2, mask), causal))
          << b.name << ", " << NameOf(mask);
    }
  }
}

}  // namespace
}  // namespace vexact
