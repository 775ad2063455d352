// A fixed set of worker threads that split loops by index.
//
// Results never depend on the number of threads: a loop body writes only what its own index owns.
#ifndef VEXACT_BASE_THREAD_POOL_H_
#define VEXACT_BASE_THREAD_POOL_H_

#include <cstdint>
#include <memory>

#include "base/function_ref.h"
#include "base/result.h"

namespace vexact {

// Thread contract: one ParallelFor at a time (calls from several threads queue up); a loop body
// must not call ParallelFor on its own pool. Requires: not used after it was moved from.
class ThreadPool {
 public:
  // `num_threads` >= 1 counts the caller: a pool of 1 has no workers. kIo: the system refused one
  // of the threads; those that had started have ended.
  static Result<ThreadPool> Create(int num_threads);
  ~ThreadPool();
  ThreadPool(ThreadPool&& other) noexcept;
  ThreadPool& operator=(ThreadPool&& other) noexcept;

  int num_threads() const;

  // Calls body(i) once for every i in [0, count), on any thread, in any order; returns when all
  // are done. Every thread runs under ScopedFloatEnvironment. The body must not throw.
  void ParallelFor(int64_t count, FunctionRef<void(int64_t)> body);

 private:
  struct Workers;
  explicit ThreadPool(std::unique_ptr<Workers> workers);

  std::unique_ptr<Workers> workers_;
};

}  // namespace vexact

#endif  // VEXACT_BASE_THREAD_POOL_H_
