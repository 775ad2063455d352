// Shapes that do not fit end the program on every CPU backend, before anything is read or written.
// (A GPU's backend asks the same functions; a death test's child process has no device.)
#include <gtest/gtest.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "support/backends.h"
#include "support/matrix.h"

namespace vexact {
namespace {

std::vector<NamedBackend> CpuBackends() {
  std::vector<NamedBackend> backends = {{"reference", MakeReferenceBackend()},
                                        {"variant", MakeCpuBackend(Mode::kVariant)}};
  for (const CpuTarget target : SupportedCpuTargets()) {
    backends.push_back({std::string(CpuTargetName(target)), MakeCpuBackend(target)});
  }
  return backends;
}

// `call` ends the program on every backend with a message that holds `what`.
void ExpectRefused(const char* what, const std::function<void(const Backend&, Stream&)>& call) {
  for (const NamedBackend& b : CpuBackends()) {
    SCOPED_TRACE(b.name);
    TestStream test(1);
    EXPECT_DEATH(call(*b.backend, test.stream), what);
  }
}

Matrix<bf16> Zeros(int64_t rows, int64_t cols) { return {rows, cols}; }

TEST(ShapesDeathTest, LinearRefusesOutputsOfAnotherShape) {
  const Matrix<bf16> x = Zeros(3, 32);
  const Matrix<bf16> w = Zeros(40, 32);
  const auto run = [&](int64_t rows, int64_t cols) {
    return [&, rows, cols](const Backend& backend, Stream& stream) {
      Matrix<bf16> y = Zeros(rows, cols);
      const LinearWeight weight = backend.PackLinear(w.view()).value();
      backend.Linear({.x = x.view(), .weight = &weight, .y = y.view()}, stream);
    };
  };
  ExpectRefused("as many rows as x", run(2, 40));
  ExpectRefused("out_features", run(3, 39));
}

TEST(ShapesDeathTest, LinearRefusesAnInputOfAnotherWidth) {
  const Matrix<bf16> x = Zeros(3, 31);
  const Matrix<bf16> w = Zeros(40, 32);
  ExpectRefused("in_features", [&](const Backend& backend, Stream& stream) {
    Matrix<bf16> y = Zeros(3, 40);
    const LinearWeight weight = backend.PackLinear(w.view()).value();
    backend.Linear({.x = x.view(), .weight = &weight, .y = y.view()}, stream);
  });
}

TEST(ShapesDeathTest, AWeightHasPartsOfOneWidth) {
  const Matrix<bf16> a = Zeros(4, 32);
  const Matrix<bf16> b = Zeros(4, 31);
  ExpectRefused("parts of equal width", [&](const Backend& backend, Stream&) {
    const Rows<const bf16> parts[] = {a.view(), b.view()};
    static_cast<void>(backend.PackLinear(parts));
  });
  ExpectRefused("a part", [](const Backend& backend, Stream&) {
    static_cast<void>(backend.PackLinear(std::span<const Rows<const bf16>>()));
  });
}

TEST(ShapesDeathTest, NormsRefuseGroupsAndOutputsThatDoNotFit) {
  const Matrix<bf16> x = Zeros(3, 64);
  const std::vector<bf16> weight(64);
  const auto run = [&](int64_t group, int64_t cols) {
    return [&, group, cols](const Backend& backend, Stream& stream) {
      Matrix<bf16> y = Zeros(3, cols);
      backend.RmsNorm(
          {.x = x.view(), .weight = weight.data(), .group = group, .eps = 1e-6f, .y = y.view()},
          stream);
    };
  };
  ExpectRefused("multiple of group", run(0, 64));
  ExpectRefused("multiple of group", run(48, 64));
  ExpectRefused("shape of x", run(64, 63));
  ExpectRefused("branch like hidden", [&](const Backend& backend, Stream& stream) {
    Matrix<bf16> hidden = Zeros(3, 65);
    Matrix<bf16> normed = Zeros(3, 65);
    backend.ResidualNorm({.hidden = hidden.view(),
                          .branch = x.view(),
                          .weight = weight.data(),
                          .eps = 1e-6f,
                          .normed = normed.view()},
                         stream);
  });
}

TEST(ShapesDeathTest, SiluMulRefusesOperandsOfAnotherShape) {
  const Matrix<bf16> gate = Zeros(3, 32);
  const Matrix<bf16> up = Zeros(3, 31);
  ExpectRefused("up like gate", [&](const Backend& backend, Stream& stream) {
    Matrix<bf16> y = Zeros(3, 32);
    backend.SiluMul({.gate = gate.view(), .up = up.view(), .y = y.view()}, stream);
  });
  ExpectRefused("y like gate", [&](const Backend& backend, Stream& stream) {
    Matrix<bf16> y = Zeros(2, 32);
    backend.SiluMul({.gate = gate.view(), .up = gate.view(), .y = y.view()}, stream);
  });
}

TEST(ShapesDeathTest, EmbeddingRefusesATableOfAnotherWidth) {
  const Matrix<bf16> table = Zeros(5, 31);
  const std::vector<int32_t> ids = {0, 4};
  ExpectRefused("hidden", [&](const Backend& backend, Stream& stream) {
    Matrix<bf16> y = Zeros(2, 32);
    backend.Embedding({.table = table.view(), .ids = ids.data(), .y = y.view()}, stream);
  });
}

TEST(ShapesDeathTest, RoutingRefusesMoreChoicesThanExperts) {
  const Matrix<float> scores(2, 4);
  ExpectRefused("top_k <= num_experts", [&](const Backend& backend, Stream& stream) {
    Matrix<int32_t> ids(2, 5);
    Matrix<float> weights(2, 5);
    backend.MoeRoute({.scores = scores.view(),
                      .norm_topk_prob = true,
                      .ids = ids.view(),
                      .weights = weights.view()},
                     stream);
  });
  const Matrix<bf16> expert_rows = Zeros(9, 32);
  const Matrix<float> weights(2, 5);
  ExpectRefused("a row for each weight", [&](const Backend& backend, Stream& stream) {
    Matrix<bf16> y = Zeros(2, 32);
    backend.MoeCombine(
        {.expert_rows = expert_rows.view(), .weights = weights.view(), .y = y.view()}, stream);
  });
}

// A call that fits, but for what a test changes.
struct AttentionShapes {
  int64_t heads = 2;
  int64_t kv_heads = 1;
  int64_t q_cols = 32;
  int64_t y_rows = 2;
  int64_t y_cols = 32;
  std::vector<int32_t> query_start = {0, 2};
};

TEST(ShapesDeathTest, AttentionRefusesQueriesAndAnswersOfAnotherShape) {
  constexpr int64_t kHeadDim = 16;
  constexpr int64_t kBlockSize = 16;
  const auto run = [](const AttentionShapes& shapes) {
    return [shapes](const Backend& backend, Stream& stream) {
      const int64_t block_elements = 2 * shapes.kv_heads * kBlockSize * kHeadDim;
      std::vector<bf16> pool(block_elements);
      const std::vector<int32_t> context_len = {3};
      const std::vector<int32_t> block_table = {0};
      const Matrix<bf16> q = Zeros(2, shapes.q_cols);
      Matrix<bf16> y = Zeros(shapes.y_rows, shapes.y_cols);
      backend.Attention({.q = q.view(),
                         .y = y.view(),
                         .num_heads = shapes.heads,
                         .kv = {.pool = pool.data(),
                                .num_blocks = 1,
                                .block_size = kBlockSize,
                                .num_kv_heads = shapes.kv_heads,
                                .head_dim = kHeadDim,
                                .block_stride = block_elements},
                         .sequences = {.count = 1,
                                       .query_start = shapes.query_start.data(),
                                       .context_len = context_len.data(),
                                       .block_table_start = block_table.data(),
                                       .block_tables = block_table.data()}},
                        stream);
    };
  };
  for (const NamedBackend& b : CpuBackends()) {
    TestStream test(1);
    run({})(*b.backend, test.stream);  // fits
  }
  ExpectRefused("a multiple of KV heads", run({.kv_heads = 0}));
  ExpectRefused("a multiple of KV heads",
                run({.heads = 3, .kv_heads = 2, .q_cols = 48, .y_cols = 48}));
  ExpectRefused("q: heads", run({.heads = 3}));
  ExpectRefused("y has the shape of q", run({.y_rows = 1}));
  ExpectRefused("y has the shape of q", run({.y_rows = 3}));
  ExpectRefused("y has the shape of q", run({.y_cols = 48}));
  ExpectRefused("sequences from the first row on", run({.query_start = {1, 2}}));
  ExpectRefused("the sequences' rows", run({.query_start = {0, 3}}));
}

TEST(ShapesDeathTest, HeadsAreAsWideAsTheirAnglesAndAllThatARowHolds) {
  std::vector<bf16> pool(2 * 16 * 32);
  const std::vector<bf16> angles(8 * 16);
  const std::vector<int32_t> positions = {0};
  std::vector<uint8_t> row_faults(1);
  const auto run = [&](int64_t half, int64_t cols) {
    return [&, half, cols](const Backend& backend, Stream& stream) {
      Matrix<bf16> qkv = Zeros(1, cols);
      backend.NormRopeWrite(
          {.qkv = qkv.view(),
           .num_heads = 1,
           .q_norm = nullptr,
           .k_norm = nullptr,
           .eps = 1e-6f,
           .positions = positions.data(),
           .table = {.max_positions = 8, .half = half, .cos = angles.data(), .sin = angles.data()},
           .slots = positions.data(),
           .kv = {.pool = pool.data(),
                  .num_blocks = 1,
                  .block_size = 16,
                  .num_kv_heads = 1,
                  .head_dim = 32,
                  .block_stride = 2 * 16 * 32},
           .row_faults = row_faults.data()},
          stream);
    };
  };
  for (const NamedBackend& b : CpuBackends()) {
    TestStream test(1);
    run(16, 3 * 32)(*b.backend, test.stream);  // fits
  }
  ExpectRefused("head_dim == 2 \\* half", run(8, 3 * 32));
  ExpectRefused("q's, k's and v's columns", run(16, 2 * 32));
}

}  // namespace
}  // namespace vexact
