#include "base/thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/float_environment.h"
#include "base/threads.h"

namespace vexact {
namespace {

struct Loop {
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

}  // namespace

// What the worker threads see of a pool; it stays where it is when the pool moves.
struct ThreadPool::Workers {
  ~Workers() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    work.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  void ThreadMain() {
    uint64_t last_generation = 0;
    std::unique_lock lock(mutex);
    for (;;) {
      work.wait(lock,
                [&] { return stopping || (loop != nullptr && generation != last_generation); });
      if (stopping) return;
      last_generation = generation;
      Loop* const current = loop;
      ++inside;
      lock.unlock();
      current->Run();
      lock.lock();
      if (--inside == 0) done.notify_all();
    }
  }

  std::mutex callers;  // one loop at a time
  std::mutex mutex;    // guards everything below but the threads
  std::condition_variable work;
  std::condition_variable done;
  Loop* loop = nullptr;
  uint64_t generation = 0;  // counts loops, so that a worker joins each loop at most once
  int inside = 0;           // workers in the loop
  bool stopping = false;
  std::vector<std::thread> threads;
};

ThreadPool::ThreadPool(std::unique_ptr<Workers> workers) : workers_(std::move(workers)) {}
ThreadPool::~ThreadPool() = default;
ThreadPool::ThreadPool(ThreadPool&& other) noexcept = default;
ThreadPool& ThreadPool::operator=(ThreadPool&& other) noexcept = default;

Result<ThreadPool> ThreadPool::Create(int num_threads) {
  VX_CHECK(num_threads >= 1, "a thread pool needs at least one thread");
  auto workers = std::make_unique<Workers>();
  workers->threads.reserve(num_threads - 1);
  for (int i = 1; i < num_threads; ++i) {
    Result<std::thread> thread = StartThread("a worker", [w = workers.get()] { w->ThreadMain(); });
    if (!thread.ok()) {
      return MakeError(ErrorCode::kIo,
                       "threads: expected {} to run, the caller's included, found {}; {}",
                       num_threads, workers->threads.size() + 1, thread.error().message);
    }
    workers->threads.push_back(std::move(thread).value());
  }
  return ThreadPool(std::move(workers));
}

int ThreadPool::num_threads() const { return static_cast<int>(workers_->threads.size()) + 1; }

void ThreadPool::ParallelFor(int64_t count, FunctionRef<void(int64_t)> body) {
  if (count <= 0) return;
  Loop loop{body, count};
  Workers& workers = *workers_;
  if (workers.threads.empty() || count == 1) {
    loop.Run();
    return;
  }
  const std::lock_guard one_caller(workers.callers);
  {
    const std::lock_guard lock(workers.mutex);
    workers.loop = &loop;
    ++workers.generation;
  }
  workers.work.notify_all();
  loop.Run();
  // The loop lives on this stack: wait until no worker is inside it, and let none enter late.
  std::unique_lock lock(workers.mutex);
  workers.loop = nullptr;
  workers.done.wait(lock, [&] { return workers.inside == 0; });
}

}  // namespace vexact
