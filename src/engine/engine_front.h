// EngineFront: an Engine behind a thread of its own, for clients with many threads (a server,
// Python, the command line).
//
//   EngineFront front(std::move(engine));
//   auto id = front.Submit(std::move(request), [](const Output& output) { ... });
//   front.Drain();
#ifndef VEXACT_ENGINE_ENGINE_FRONT_H_
#define VEXACT_ENGINE_ENGINE_FRONT_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "engine/engine.h"

namespace vexact {

// Called on the front's thread, for every output of one request in order, until all its samples
// have finished. It must be quick and must not throw; it may call Submit and Abort.
using OutputCallback = std::function<void(const Output&)>;

// Thread contract: every member but the destructor may be called from any thread at any time.
// Drain, UpdateWeights, ResetPrefixCache and Stats must not be called from a callback.
class EngineFront {
 public:
  // kIo: the system refused the engine's thread.
  static Result<std::unique_ptr<EngineFront>> Create(std::unique_ptr<Engine> engine);
  // Aborts what is left (its callbacks see kAbort), then joins the thread.
  ~EngineFront();
  EngineFront(const EngineFront&) = delete;
  EngineFront& operator=(const EngineFront&) = delete;

  // Tokenises and checks on the caller's thread; an error means that the callback is never called.
  Result<RequestId> Submit(Request request, OutputCallback callback);

  // The request's unfinished samples end with kAbort, soon. Unknown ids are ignored.
  void Abort(RequestId id);

  // Waits until every request submitted so far, or meanwhile, has ended.
  void Drain();

  // Waits until the requests submitted before have ended, holding back those submitted meanwhile,
  // then replaces the weights (Engine::UpdateWeights).
  Status UpdateWeights(std::shared_ptr<const Model> model);

  void ResetPrefixCache();
  EngineStats Stats();
  const EngineConfig& config() const { return engine_->config(); }

 private:
  struct Submission {
    PreparedRequest request;
    OutputCallback callback;
  };
  // Work for the thread, between two steps; its caller waits.
  struct Task {
    std::function<void()> work;
    bool needs_idle_engine = false;
    bool done = false;
  };
  using Command = std::variant<Submission, Task*>;
  struct Client {
    OutputCallback callback;
    int32_t num_unfinished = 0;
  };

  explicit EngineFront(std::unique_ptr<Engine> engine);
  void ThreadMain();
  // Takes commands in order, up to a task that has to wait for an idle engine.
  std::vector<Command> TakeCommands();
  void Execute(Command command);
  void Abort(const std::vector<RequestId>& ids);
  void AbortAll();
  void Deliver(const std::vector<Output>& outputs);
  void RunTask(std::function<void()> work, bool needs_idle_engine);

  std::unique_ptr<Engine> engine_;  // used by the thread alone, but for Prepare and config
  std::unordered_map<RequestId, Client> clients_;  // used by the thread alone

  std::mutex mutex_;                 // guards everything below
  std::condition_variable wake_;     // the thread waits for something to do
  std::condition_variable settled_;  // others wait for a task, or for the end of all requests
  std::deque<Command> commands_;
  std::vector<RequestId> aborts_;
  bool idle_ = true;  // the thread knows of no unfinished request
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace vexact

#endif  // VEXACT_ENGINE_ENGINE_FRONT_H_
