#include "kernels/norm_rope_write/norm_rope_write.h"

#include <gtest/gtest.h>

#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"
#include "support/near_ties.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

constexpr int64_t kNumBlocks = 5;
constexpr int64_t kMaxPositions = 64;
constexpr int64_t kPadding = 8;  // rows start at multiples of 16 bytes, as the GPU wants them

struct Shape {
  int64_t q_heads;
  int64_t kv_heads;
  int64_t head_dim;
  bool q_norm;
  bool k_norm;
  int64_t block_size = 16;

  int64_t cols() const { return (q_heads + 2 * kv_heads) * head_dim; }
  std::string text() const {
    return fmt::format("{} / {} x {}, norms {} {}, blocks of {}", q_heads, kv_heads, head_dim,
                       q_norm, k_norm, block_size);
  }
};

// All arguments of a call, and what it wrote.
struct Call {
  Call(const Shape& shape, int64_t rows)
      : shape(shape),
        qkv(rows, shape.cols(), kPadding),
        positions(static_cast<size_t>(rows)),
        slots(static_cast<size_t>(rows)),
        faults(static_cast<size_t>(rows)) {
    // A poisoned pool of one layer inside a larger one: blocks lie further apart than they are
    // long.
    const int64_t stride = 3 * 2 * shape.kv_heads * shape.block_size * shape.head_dim;
    pool.assign(static_cast<size_t>(kNumBlocks * stride), Poison<bf16>());
    norms.resize(static_cast<size_t>(2 * shape.head_dim));
    table = BuildRopeTable({.theta = 1e4, .rotary_dim = static_cast<int32_t>(shape.head_dim)},
                           kMaxPositions);
  }

  NormRopeWriteArgs Args() {
    return {.qkv = qkv.view(),
            .num_heads = shape.q_heads,
            .q_norm = shape.q_norm ? norms.data() : nullptr,
            .k_norm = shape.k_norm ? norms.data() + shape.head_dim : nullptr,
            .eps = 1e-6f,
            .positions = positions.data(),
            .table = table.view(),
            .slots = slots.data(),
            .kv = Kv(),
            .row_faults = faults.data()};
  }
  PagedKv Kv() {
    return {pool.data(),    kNumBlocks,     shape.block_size,
            shape.kv_heads, shape.head_dim, static_cast<int64_t>(pool.size()) / kNumBlocks};
  }

  Shape shape;
  Matrix<bf16> qkv;
  std::vector<int32_t> positions;
  std::vector<int32_t> slots;
  std::vector<uint8_t> faults;
  std::vector<bf16> pool;
  std::vector<bf16> norms;
  RopeTable table;
};

// Rows in slots of their own, out of order; the third is written nowhere.
Call RandomCall(std::mt19937& random, Values values, const Shape& shape, int64_t rows) {
  Call call(shape, rows);
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < shape.cols(); ++i) call.qkv[t][i] = RandomBf16(random, values);
    const auto row = static_cast<size_t>(t);
    call.positions[row] = static_cast<int32_t>(random() % kMaxPositions);
    call.slots[row] = static_cast<int32_t>((t * 29 + 3) % (kNumBlocks * shape.block_size));
  }
  if (rows > 2) call.slots[2] = -1;
  for (bf16& weight : call.norms) weight = RandomBf16(random, values);
  return call;
}

Call Apply(const Backend& backend, Call call, int num_threads = 2) {
  TestStream test(num_threads);
  backend.NormRopeWrite(call.Args(), test.stream);
  return call;
}

// The references of the steps, on views that share nothing with norm_rope_write's own.
Call ApplySteps(Call call) {
  TestStream test(2);
  const NormRopeWriteArgs args = call.Args();
  const int64_t dim = call.shape.head_dim;
  const int64_t k_begin = call.shape.q_heads * dim;
  const int64_t v_begin = k_begin + call.shape.kv_heads * dim;
  const Rows<bf16> q = args.qkv.Columns(0, k_begin);
  const Rows<bf16> k = args.qkv.Columns(k_begin, v_begin);
  const Rows<bf16> v = args.qkv.Columns(v_begin, call.shape.cols());
  if (call.shape.q_norm) RmsNormReference({q, args.q_norm, dim, args.eps, q}, test.stream);
  if (call.shape.k_norm) RmsNormReference({k, args.k_norm, dim, args.eps, k}, test.stream);
  RopeReference({q, dim, args.positions, args.table}, test.stream);
  RopeReference({k, dim, args.positions, args.table}, test.stream);
  KvWriteReference({k, v, args.slots, args.kv, args.row_faults}, test.stream);
  return call;
}

testing::AssertionResult SameResults(const Call& actual, const Call& expected) {
  const testing::AssertionResult qkv = SameBits(actual.qkv, expected.qkv);
  if (!qkv) return testing::AssertionFailure() << "qkv " << qkv.message();
  const auto words = static_cast<int64_t>(expected.pool.size());
  const testing::AssertionResult pool = SameBits(Rows<const bf16>(actual.pool.data(), 1, words),
                                                 Rows<const bf16>(expected.pool.data(), 1, words));
  if (!pool) return testing::AssertionFailure() << "pool " << pool.message();
  if (actual.faults != expected.faults) return testing::AssertionFailure() << "faults differ";
  return testing::AssertionSuccess();
}

// What a GPU takes; with 20 heads of 128 and 66 of 64 one row fills its block of threads more than
// once, with 3 heads of 16 it fills less than a warp.
constexpr Shape kShapes[] = {
    {1, 1, 16, true, true},     {2, 1, 32, false, false}, {9, 3, 64, false, false, 32},
    {16, 8, 128, true, true},   {4, 4, 128, true, false}, {26, 20, 64, true, true, 64},
    {20, 10, 128, false, true},
};

TEST(NormRopeWrite, EqualsTheStepsOneAfterAnotherUnderFlushToZero) {
  std::mt19937 random(1);
  for (const Values values : kAllValues) {
    for (const Shape& shape : kShapes) {
      for (const int64_t rows : {1, 5}) {
        const Call call = RandomCall(random, values, shape, rows);
        const Call steps = ApplySteps(call);
        const ScopedFlushToZero host;
        for (const NamedBackend& b : AllBackends()) {
          SCOPED_TRACE(fmt::format("{}, {} rows of {}, values {}", b.name, rows, shape.text(),
                                   static_cast<int>(values)));
          EXPECT_TRUE(SameResults(Apply(*b.backend, call), steps));
        }
      }
    }
  }
}

TEST(NormRopeWrite, HasTheReferencesLastBitOfTheRoots) {
  std::mt19937 random(5);
  for (const Shape& shape : {Shape{8, 4, 64, true, true}, Shape{8, 4, 128, true, true}}) {
    Call call = RandomCall(random, Values::kNormal, shape, ScaledCases(20));
    FillNearTies(random, call.qkv.view(), shape.head_dim, call.Args().eps);
    std::ranges::fill(call.norms, Bf16FromFloat(1.0f));
    const Call steps = ApplySteps(call);
    for (const NamedBackend& b : AllBackends()) {
      SCOPED_TRACE(fmt::format("{}, {}", b.name, shape.text()));
      EXPECT_TRUE(SameResults(Apply(*b.backend, call), steps));
    }
  }
}

TEST(NormRopeWrite, OnTheHostTakesEveryHeadDim) {
  std::mt19937 random(2);
  for (const int64_t head_dim : {2, 6, 18, 24, 40, 80, 96, 256}) {
    const Call call = RandomCall(random, Values::kNormal, {3, 2, head_dim, true, true}, 5);
    const Call steps = ApplySteps(call);
    for (const CpuTarget target : SupportedCpuTargets()) {
      EXPECT_TRUE(SameResults(Apply(*MakeCpuBackend(target), call), steps)) << head_dim;
    }
  }
}

// Two heads of x as q, beside heads of k and v that hold zeros.
TEST(NormRopeWrite, RotatesLikeTheOracle) {
  for (const NamedBackend& b : AllBackends()) {
    for (int i = 0; i < 4; ++i) {
      SCOPED_TRACE(b.name + ", case " + std::to_string(i));
      const std::string name = "rope." + std::to_string(i) + ".";
      const OracleTensor& cos = OperatorOracle().Get(name + "cos");
      const auto cosines = cos.As<bf16>();
      const auto sines = OperatorOracle().Get(name + "sin").As<bf16>();
      const int64_t dim = 2 * cos.shape[1];
      const auto x = OracleMatrix<bf16>(name + "x", 2 * dim);
      Call call({2, 1, dim, false, false}, x.rows());
      call.table = {cos.shape[0],
                    cos.shape[1],
                    {cosines.begin(), cosines.end()},
                    {sines.begin(), sines.end()}};
      for (int64_t t = 0; t < x.rows(); ++t) {
        std::copy_n(x[t], 2 * dim, call.qkv[t]);
        call.positions[static_cast<size_t>(t)] = static_cast<int32_t>(t);
        call.slots[static_cast<size_t>(t)] = static_cast<int32_t>(t);
      }
      Call rotated = Apply(*b.backend, call);
      const auto y = OracleMatrix<bf16>(name + "y", 2 * dim);
      const Rows<const bf16> q = rotated.qkv.view().Columns(0, 2 * dim);
      EXPECT_TRUE(SameBits(q, y.view()));
    }
  }
}

TEST(NormRopeWrite, ARowAloneHasItsBitsInEveryBatchWithPoisonedNeighbours) {
  std::mt19937 random(3);
  for (const NamedBackend& b : AllBackends()) {
    for (const Shape& shape : {Shape{3, 2, 64, true, true}, Shape{16, 8, 128, false, false}}) {
      const Call one = RandomCall(random, Values::kNormal, shape, 1);
      Call alone = Apply(*b.backend, one);
      for (const int64_t batch : {1, 2, 7, 20}) {
        SCOPED_TRACE(fmt::format("{}, {} rows of {}", b.name, batch, shape.text()));
        Call call = one;
        call.qkv = Matrix<bf16>(batch, shape.cols(), kPadding);
        call.qkv.Fill(Poison<bf16>());
        const auto last = static_cast<size_t>(batch - 1);
        std::copy_n(one.qkv[0], shape.cols(), call.qkv[batch - 1]);
        call.positions.assign(last + 1, 4);
        call.positions[last] = one.positions[0];
        call.faults.assign(last + 1, 0);
        call.slots.assign(last + 1, -1);  // poison would be a fault and zeros
        call.slots[last] = one.slots[0];
        Call result = Apply(*b.backend, call, 3);
        EXPECT_TRUE(SameBits(RowsOf(result.qkv, batch - 1, batch), RowsOf(alone.qkv, 0, 1)));
        EXPECT_EQ(result.pool, alone.pool);
        EXPECT_EQ(result.faults, std::vector<uint8_t>(last + 1, 0));
      }
    }
  }
}

TEST(NormRopeWrite, ARowThatIsNotFiniteSetsItsFaultAndWritesZeros) {
  std::mt19937 random(4);
  const Shape shape{2, 20, 64, false, true};
  const int64_t k_begin = shape.q_heads * shape.head_dim;
  const int64_t v_begin = k_begin + shape.kv_heads * shape.head_dim;
  for (const NamedBackend& b : AllBackends()) {
    for (const uint16_t bad : {0x7f80, 0xff80, 0x7fc0, 0xff81}) {
      for (const int64_t column : {k_begin, v_begin - 1, v_begin, shape.cols() - 1}) {
        SCOPED_TRACE(fmt::format("{}, column {}", b.name, column));
        Call call = RandomCall(random, Values::kNormal, shape, 3);
        call.slots = {17, 18, 19};
        call.faults = {7, 0, 0};  // an earlier layer's fault stays
        call.qkv[1][column] = bf16{bad};
        call.qkv[0][0] = bf16{bad};  // in q: the row fails where its logits are looked at
        Call result = Apply(*b.backend, call);
        EXPECT_EQ(result.faults, (std::vector<uint8_t>{7, 1, 0}));
        const PagedKv kv = result.Kv();
        for (int64_t head = 0; head < shape.kv_heads; ++head) {
          for (int64_t d = 0; d < shape.head_dim; ++d) {
            const int64_t in_head = head * shape.head_dim + d;
            EXPECT_EQ(kv.Keys(1, head)[2 * shape.head_dim + d].bits, 0);
            EXPECT_EQ(kv.Values(1, head)[2 * shape.head_dim + d].bits, 0);
            EXPECT_EQ(kv.Keys(1, head)[shape.head_dim + d], result.qkv[0][k_begin + in_head]);
            EXPECT_EQ(kv.Values(1, head)[3 * shape.head_dim + d], call.qkv[2][v_begin + in_head]);
          }
        }
      }
    }
  }
}

// A finite key whose rotation overflows bf16.
TEST(NormRopeWrite, AnOverflowOfTheRotationIsAFault) {
  const Shape shape{1, 1, 16, false, false};
  for (const NamedBackend& b : AllBackends()) {
    Call call(shape, 1);
    call.positions = {1};  // cos 1 and sin 1 of pair 0 add up to 1.38
    call.qkv[0][16] = bf16{0xff7f};
    call.qkv[0][24] = bf16{0x7f7f};
    Call result = Apply(*b.backend, call);
    EXPECT_EQ(result.faults, std::vector<uint8_t>{1}) << b.name;
    for (int64_t d = 0; d < 16; ++d) EXPECT_EQ(result.Kv().Keys(0, 0)[d].bits, 0) << b.name;
  }
}

}  // namespace
}  // namespace vexact
