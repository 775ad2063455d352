// A fixed set of worker threads that split loops by index.
//
// Results never depend on the number of threads: a loop body writes only what its own index owns.
#ifndef VEXACT_BASE_THREAD_POOL_H_
#define VEXACT_BASE_THREAD_POOL_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "base/function_ref.h"

namespace vexact {

// Thread contract: one ParallelFor at a time (calls from several threads queue up); a loop body
// must not call ParallelFor on its own pool.
class ThreadPool {
 public:
  // `num_threads` >= 1 counts the caller: a pool of 1 has no workers.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(i) once for every i in [0, count), on any thread, in any order; returns when all
  // are done. Every thread runs under ScopedFloatEnvironment. The body must not throw.
  void ParallelFor(int64_t count, FunctionRef<void(int64_t)> body);

 private:
  struct Loop;
  void WorkerMain();

  std::mutex callers_;  // one loop at a time
  std::mutex mutex_;    // guards everything below
  std::condition_variable work_;
  std::condition_variable done_;
  Loop* loop_ = nullptr;
  uint64_t generation_ = 0;  // counts loops, so that a worker joins each loop at most once
  int workers_inside_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace vexact

#endif  // VEXACT_BASE_THREAD_POOL_H_
