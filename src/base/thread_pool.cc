#include "base/thread_pool.h"

#include <atomic>

#include "base/check.h"
#include "base/float_environment.h"

namespace vexact {

struct ThreadPool::Loop {
  FunctionRef<void(int64_t)> body;
  int64_t count;
  std::atomic<int64_t> next{0};

  void Run() {
    const ScopedFloatEnvironment float_environment;
    for (;;) {
      const int64_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= count) return;
      body(index);
    }
  }
};

ThreadPool::ThreadPool(int num_threads) {
  VX_CHECK(num_threads >= 1, "a thread pool needs at least one thread");
  workers_.reserve(num_threads - 1);
  for (int i = 1; i < num_threads; ++i) workers_.emplace_back([this] { WorkerMain(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::ParallelFor(int64_t count, FunctionRef<void(int64_t)> body) {
  if (count <= 0) return;
  Loop loop{body, count};
  if (workers_.empty() || count == 1) {
    loop.Run();
    return;
  }
  const std::lock_guard one_caller(callers_);
  {
    const std::lock_guard lock(mutex_);
    loop_ = &loop;
    ++generation_;
  }
  work_.notify_all();
  loop.Run();
  // The loop lives on this stack: wait until no worker is inside it, and let none enter late.
  std::unique_lock lock(mutex_);
  loop_ = nullptr;
  done_.wait(lock, [this] { return workers_inside_ == 0; });
}

void ThreadPool::WorkerMain() {
  uint64_t last_generation = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock,
               [&] { return stopping_ || (loop_ != nullptr && generation_ != last_generation); });
    if (stopping_) return;
    last_generation = generation_;
    Loop* const loop = loop_;
    ++workers_inside_;
    lock.unlock();
    loop->Run();
    lock.lock();
    if (--workers_inside_ == 0) done_.notify_all();
  }
}

}  // namespace vexact
