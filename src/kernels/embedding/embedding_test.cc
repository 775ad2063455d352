#include "kernels/embedding/embedding.h"

#include <gtest/gtest.h>

#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"

namespace vexact {
namespace {

TEST(Embedding, CopiesTheRowsOfTheIdsAndNothingElse) {
  std::mt19937 random(1);
  for (const NamedBackend& b : AllBackends()) {
    for (const int64_t hidden : {1, 7, 16, 33, 576}) {
      const auto table = RandomMatrix(random, Values::kAnyWord, 11, hidden);
      const std::vector<int32_t> ids = {10, 0, 3, 3, 9, 10};
      Matrix<bf16> y(6, hidden);
      TestStream test(2);
      const ScopedFlushToZero host;
      b.backend->Embedding({table.view(), ids.data(), y.view()}, test.stream);
      EXPECT_TRUE(y.PoisonIsIntact());
      for (int64_t t = 0; t < 6; ++t) {
        EXPECT_TRUE(std::equal(y[t], y[t] + hidden, table[ids[static_cast<size_t>(t)]])) << b.name;
      }
    }
  }
}

}  // namespace
}  // namespace vexact
