#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <atomic>
#include <limits>
#include <vector>

#include "base/float_environment.h"

namespace vexact {
namespace {

TEST(ThreadPool, RunsEveryIndexOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (const int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> calls(count);
      pool.ParallelFor(count, [&](int64_t i) { calls[i].fetch_add(1); });
      for (const auto& c : calls) EXPECT_EQ(c.load(), 1);
    }
  }
}

TEST(ThreadPool, TakesLoopsFromSeveralThreads) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        pool.ParallelFor(20, [&](int64_t i) { sum.fetch_add(i); });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum.load(), 4 * 50 * 190);
}

float HalfOfTheSmallestNormal() {
  volatile float smallest = std::numeric_limits<float>::min();
  return smallest / 2;
}

TEST(ThreadPool, ComputesWithSubnormalsAndRestoresTheHostsFlushToZero) {
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(saved | 0x8040u);  // FTZ and DAZ, as a host that plays audio sets them
  EXPECT_EQ(HalfOfTheSmallestNormal(), 0.0f);
  ThreadPool pool(2);  // its worker inherits the host's setting
  std::atomic<int> flushed{0};
  pool.ParallelFor(64, [&](int64_t) {
    if (HalfOfTheSmallestNormal() == 0.0f) flushed.fetch_add(1);
  });
  EXPECT_EQ(flushed.load(), 0);
  EXPECT_EQ(HalfOfTheSmallestNormal(), 0.0f);
  _mm_setcsr(saved);
}

}  // namespace
}  // namespace vexact
