// ModelRunner: plans in, results out. A thread of its own queues steps on the backend's stream, in
// the order in which they were launched, so that the next step is planned while one is computed.
//
// On a device that computes while the host goes on, a step is queued whole, forward pass and
// sampling, as soon as it is launched: behind the step before, which the host has not read yet.
// Drawn tokens go to the next forward pass and into the histories that sampling reads on the device
// (sampler.h), so the device never waits for the host's work between two steps.
#ifndef VEXACT_ENGINE_MODEL_RUNNER_H_
#define VEXACT_ENGINE_MODEL_RUNNER_H_

#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "batch/batch_inputs.h"
#include "batch/step_plan.h"
#include "batch/step_result.h"
#include "engine/step_inputs.h"
#include "model/model.h"
#include "sampler/sampler.h"

namespace vexact {

struct ModelRunnerOptions {
  int32_t max_num_batched_tokens = 0;
  int32_t max_num_seqs = 0;
  int32_t max_model_len = 0;
  int32_t block_size = 0;
  int32_t num_threads = 0;
  MaskKind mask = MaskKind::kCausal;  // a window is the model's
};

// A step that was launched. Collect once.
class StepTicket {
 public:
  explicit StepTicket(std::future<StepResult> result) : result_(std::move(result)) {}
  // Waits for the step, and so for all launched before it.
  StepResult Collect() { return result_.get(); }

 private:
  std::future<StepResult> result_;
};

// Everything that a step touches is allocated at the start: memory does not grow with prompts.
// Thread contract: one thread calls; it may launch before it has collected.
class ModelRunner {
 public:
  // Logits of one step are computed, sampled and forgotten in chunks of this many rows, so that
  // log-probabilities of a long prompt never need a [tokens, vocabulary] buffer.
  static constexpr int64_t kMaxLogitRows = 256;

  // Everything but the KV pool. kInternal: the device's arithmetic is not the canonical one.
  static Result<std::unique_ptr<ModelRunner>> Create(const ModelRunnerOptions& options,
                                                     std::shared_ptr<const Model> model);
  // Waits for what is in flight.
  ~ModelRunner();
  ModelRunner(const ModelRunner&) = delete;
  ModelRunner& operator=(const ModelRunner&) = delete;

  // Runs the largest step that the options allow (LargestStep), forward passes recorded as later
  // ones will be, and forgets it: what is then in use of the device's memory is what the engine
  // needs beside the KV pool. The step's own pool is small and is given back.
  Status RunLargestStep();

  // Once, before the first Launch: the pool, and the forward passes recorded with it.
  Status AllocateKv(int32_t num_blocks);

  // `plan` must stay as it is until the ticket is collected; `inputs` is BuildBatch(plan).
  StepTicket Launch(std::shared_ptr<const StepPlan> plan, BatchInputs inputs);

  // For the steps launched from now on. Requires: nothing in flight; the same shapes. After an
  // error the model is the one before, and its forward passes are queued operator by operator.
  Status SetModel(std::shared_ptr<const Model> model);

 private:
  using Clock = std::chrono::steady_clock;
  struct Job {
    std::shared_ptr<const StepPlan> plan;
    BatchInputs inputs;
    std::promise<StepResult> result;
    Clock::time_point begun;
    double host_ms = 0.0;
    int sampling = 0;   // which of the sampler's two steps, and of host_row_faults_
    size_t marks = 0;   // which of marks_
    std::string error;  // why nothing came of it, or empty
  };
  // When the device came to a step's forward pass and to its end.
  struct StepMarks {
    StreamMark begin;
    StreamMark end;
  };
  static constexpr size_t kMaxInFlight = 2;  // as many as the sampler has room for
  ModelRunner(const ModelRunnerOptions& options, std::shared_ptr<const Model> model,
              ThreadPool pool);
  Status Allocate();
  Status PrepareLinears() const;
  // The size that a step, or rows of logits, is padded to; and all there are.
  int64_t PaddedRows(int64_t rows) const;
  std::vector<int64_t> PaddedSizes() const;
  // A forward pass: how many tokens it is padded to, and whether it may hold long chunks. One that
  // only continues sequences, a token each, has a faster attention kernel.
  struct ForwardShape {
    int64_t padded_tokens;
    bool decode_only;
    // clang-tidy 14 takes the 0 of a comparison for a pointer.
    auto operator<=>(const ForwardShape&) const = default;  // NOLINT(modernize-use-nullptr)
  };
  ForwardShape ShapeOf(const BatchInputs& inputs) const;
  // Records the forward pass of every shape, once the addresses it reads are known.
  Status RecordForwards();

  void ThreadMain();
  // All of a step's work on the stream; an error ends the step alone.
  Status Queue(Job* job);
  void QueueForward(const Job& job);
  Status QueueSampling(const Job& job);
  // Of the oldest step in flight, once the stream has come to its end.
  void Finish(Job* job, const std::string& stream_error);
  StepResult ResultOf(const Job& job);
  void RunForward(const ForwardShape& shape);
  // For each sequence its first token row with a K or V that is not finite, or kNoRow.
  std::vector<int32_t> FirstFaultyRows(const Job& job) const;

  ModelRunnerOptions options_;
  std::shared_ptr<const Model> model_;
  const Backend& backend_;
  ThreadPool pool_;
  OwnedStream stream_;
  OwnedStream
      watch_;  // waits for steps' ends: Notify on stream_ itself would hold up the next step
  StepInputs inputs_;
  std::unique_ptr<Sampler> sampler_;
  Workspace workspace_;
  Buffer kv_;  // [layer][block][K, V][kv_head][slot][head_dim] bf16
  int32_t num_blocks_ = 0;
  Buffer hidden_;                                     // [max_num_batched_tokens, hidden] bf16
  Buffer gathered_;                                   // [kMaxLogitRows, hidden] bf16
  Buffer logits_;                                     // [kMaxLogitRows, vocabulary] fp32
  std::array<Buffer, kMaxInFlight> host_row_faults_;  // [max_num_batched_tokens] uint8
  std::map<ForwardShape, CapturedWork> recordings_;   // forward passes
  Clock::time_point last_finish_;                     // none: no step has been finished
  // Of the steps in flight and the one before them.
  std::array<StepMarks, kMaxInFlight + 1> marks_;
  size_t num_queued_ = 0;

  std::mutex mutex_;  // guards everything below
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  std::deque<std::string>
      ended_;  // steps whose end the stream has passed: the device's error, or ""
  bool stopping_ = false;
  std::thread thread_;  // uses the members above the mutex while a job runs
};

}  // namespace vexact

#endif  // VEXACT_ENGINE_MODEL_RUNNER_H_
