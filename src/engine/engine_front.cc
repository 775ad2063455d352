#include "engine/engine_front.h"

#include <algorithm>
#include <utility>

#include "base/threads.h"

namespace vexact {

Result<std::unique_ptr<EngineFront>> EngineFront::Create(std::unique_ptr<Engine> engine) {
  std::unique_ptr<EngineFront> front(new EngineFront(std::move(engine)));
  VX_ASSIGN_OR_RETURN(front->thread_,
                      StartThread("the engine", [f = front.get()] { f->ThreadMain(); }));
  return Result<std::unique_ptr<EngineFront>>(std::move(front));
}

EngineFront::EngineFront(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}

EngineFront::~EngineFront() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

Result<RequestId> EngineFront::Submit(Request request, OutputCallback callback) {
  VX_ASSIGN_OR_RETURN(PreparedRequest prepared, engine_->Prepare(std::move(request)));
  const RequestId id = prepared.id;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return InvalidArgument("request {}: the engine is shutting down", id);
    commands_.emplace_back(Submission{std::move(prepared), std::move(callback)});
  }
  wake_.notify_one();
  return id;
}

void EngineFront::Abort(RequestId id) {
  {
    const std::lock_guard lock(mutex_);
    aborts_.push_back(id);
  }
  wake_.notify_one();
}

void EngineFront::Drain() {
  std::unique_lock lock(mutex_);
  settled_.wait(lock, [this] { return idle_ && commands_.empty(); });
}

Status EngineFront::UpdateWeights(std::shared_ptr<const Model> model) {
  Status status;
  RunTask([&] { status = engine_->UpdateWeights(std::move(model)); }, /*needs_idle_engine=*/true);
  return status;
}

void EngineFront::ResetPrefixCache() {
  RunTask([this] { engine_->ResetPrefixCache(); }, /*needs_idle_engine=*/false);
}

EngineStats EngineFront::Stats() {
  EngineStats stats;
  RunTask([&] { stats = engine_->Stats(); }, /*needs_idle_engine=*/false);
  return stats;
}

void EngineFront::RunTask(std::function<void()> work, bool needs_idle_engine) {
  Task task{std::move(work), needs_idle_engine};
  std::unique_lock lock(mutex_);
  commands_.emplace_back(&task);
  wake_.notify_one();
  settled_.wait(lock, [&] { return task.done; });
}

void EngineFront::ThreadMain() {
  while (true) {
    std::vector<Command> commands;
    std::vector<RequestId> aborts;
    bool stopping = false;
    {
      std::unique_lock lock(mutex_);
      idle_ = !engine_->HasWork();
      if (idle_ && commands_.empty()) settled_.notify_all();
      wake_.wait(lock,
                 [this] { return stopping_ || !idle_ || !commands_.empty() || !aborts_.empty(); });
      stopping = stopping_;
      if (stopping && idle_ && commands_.empty()) return;
      commands = TakeCommands();
      aborts = std::exchange(aborts_, {});
      idle_ = idle_ && commands.empty();
    }
    for (Command& command : commands) Execute(std::move(command));
    Abort(aborts);
    if (stopping) AbortAll();
    if (engine_->HasWork()) Deliver(engine_->Step());
  }
}

void EngineFront::AbortAll() {
  std::vector<RequestId> ids;
  for (const auto& [id, client] : clients_) ids.push_back(id);
  Abort(ids);
}

std::vector<EngineFront::Command> EngineFront::TakeCommands() {
  std::vector<Command> taken;
  bool idle = idle_;
  while (!commands_.empty()) {
    Command& next = commands_.front();
    Task* const* task = std::get_if<Task*>(&next);
    if (task != nullptr && (*task)->needs_idle_engine && !idle) break;
    idle = idle && task != nullptr;
    taken.push_back(std::move(next));
    commands_.pop_front();
  }
  // A request that is aborted before its turn has its turn now: it ends before it is computed.
  for (const RequestId id : aborts_) {
    const auto it = std::ranges::find_if(commands_, [id](const Command& command) {
      const auto* submission = std::get_if<Submission>(&command);
      return submission != nullptr && submission->request.id == id;
    });
    if (it == commands_.end()) continue;
    taken.push_back(std::move(*it));
    commands_.erase(it);
  }
  return taken;
}

void EngineFront::Execute(Command command) {
  if (auto* submission = std::get_if<Submission>(&command)) {
    const RequestId id = submission->request.id;
    clients_[id] = {std::move(submission->callback), submission->request.sampling->n};
    engine_->Add(std::move(submission->request));
    return;
  }
  Task* task = std::get<Task*>(command);
  task->work();
  const std::lock_guard lock(mutex_);
  task->done = true;
  settled_.notify_all();
}

void EngineFront::Abort(const std::vector<RequestId>& ids) {
  for (const RequestId id : ids) engine_->Abort(id);
}

void EngineFront::Deliver(const std::vector<Output>& outputs) {
  for (const Output& output : outputs) {
    const auto client = clients_.find(output.request_id);
    VX_CHECK(client != clients_.end());
    client->second.callback(output);
    if (output.finished() && --client->second.num_unfinished == 0) clients_.erase(client);
  }
}

}  // namespace vexact
