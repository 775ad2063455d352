#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>
#include <xmmintrin.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <thread>
#include <vector>

#include "base/float_environment.h"
#include "base/threads.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

TEST(ThreadPool, RunsEveryIndexOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool = ThreadPool::Create(threads).value();
    for (const int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> calls(count);
      pool.ParallelFor(count, [&](int64_t i) { calls[i].fetch_add(1); });
      for (const auto& c : calls) EXPECT_EQ(c.load(), 1);
    }
  }
}

TEST(ThreadPool, TakesLoopsFromSeveralThreads) {
  ThreadPool pool = ThreadPool::Create(3).value();
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
  ThreadPool pool = ThreadPool::Create(2).value();  // its worker inherits the host's setting
  std::atomic<int> flushed{0};
  pool.ParallelFor(64, [&](int64_t) {
    if (HalfOfTheSmallestNormal() == 0.0f) flushed.fetch_add(1);
  });
  EXPECT_EQ(flushed.load(), 0);
  EXPECT_EQ(HalfOfTheSmallestNormal(), 0.0f);
  _mm_setcsr(saved);
}

// Ends the process: 0 if a pool of 64 threads is refused with a message of the numbers, after some
// workers had started.
[[noreturn]] void MakePoolWithAddressesForAFewThreads() {
  // Stacks of 1 GiB that nobody touches, and addresses for less than four of them.
  constexpr size_t kStack = size_t{1} << 30;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStack);
  pthread_setattr_default_np(&attributes);
  rlim_t pages_in_use = 0;
  std::ifstream("/proc/self/statm") >> pages_in_use;
  const rlim_t bytes = pages_in_use * sysconf(_SC_PAGESIZE) + 3 * kStack + kStack / 2;
  const rlimit limit{bytes, bytes};
  if (setrlimit(RLIMIT_AS, &limit) != 0) std::exit(2);
  const auto pool = ThreadPool::Create(64);
  if (pool.ok() || pool.error().code != ErrorCode::kIo) std::exit(3);
  std::fprintf(stderr, "%s\n", pool.error().message.c_str());
  std::exit(ThreadPool::Create(2).ok() ? 0 : 4);  // what the others took has been given back
}

// Ends the process: 0 if a thread is refused with a message of whose it was.
[[noreturn]] void StartAThreadWithoutAddresses() {
  const rlimit limit{0, 0};
  if (setrlimit(RLIMIT_AS, &limit) != 0) std::exit(2);
  const auto thread = StartThread("the engine", [] {});
  if (thread.ok() || thread.error().code != ErrorCode::kIo) std::exit(3);
  std::fprintf(stderr, "%s\n", thread.error().message.c_str());
  std::exit(0);
}

TEST(StartThreadDeathTest, SaysWhoseThreadTheSystemRefused) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs addresses of its own";
  EXPECT_EXIT(StartAThreadWithoutAddresses(), testing::ExitedWithCode(0),
              "the engine: expected a thread to start, found: ");
}

TEST(ThreadPoolDeathTest, SaysHowManyThreadsTheSystemStarted) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own addresses leave none to count";
  EXPECT_EXIT(MakePoolWithAddressesForAFewThreads(), testing::ExitedWithCode(0),
              "threads: expected 64 to run, the caller's included, found [234]; a worker: expected "
              "a thread to start, found: ");
}

}  // namespace
}  // namespace vexact
