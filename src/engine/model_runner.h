// ModelRunner: plans in, results out. It runs steps on a thread of its own, in the order in which
// they were launched, so that the next step is planned while one is computed: the CPU's stream.
#ifndef VEXACT_ENGINE_MODEL_RUNNER_H_
#define VEXACT_ENGINE_MODEL_RUNNER_H_

#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "batch/batch_inputs.h"
#include "batch/step_plan.h"
#include "batch/step_result.h"
#include "model/model.h"
#include "sampler/sampler.h"

namespace vexact {

struct ModelRunnerOptions {
  int32_t max_num_batched_tokens = 0;
  int32_t max_num_seqs = 0;
  int32_t block_size = 0;
  int32_t num_blocks = 0;
  int32_t num_threads = 0;
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

  static Result<std::unique_ptr<ModelRunner>> Create(const ModelRunnerOptions& options,
                                                     std::shared_ptr<const Model> model);
  // Waits for what is in flight.
  ~ModelRunner();
  ModelRunner(const ModelRunner&) = delete;
  ModelRunner& operator=(const ModelRunner&) = delete;

  // `plan` must stay as it is until the ticket is collected; `inputs` is BuildBatch(plan).
  StepTicket Launch(std::shared_ptr<const StepPlan> plan, BatchInputs inputs);

  // For the steps launched from now on. Requires: nothing in flight; the same shapes.
  void SetModel(std::shared_ptr<const Model> model) { model_ = std::move(model); }

 private:
  struct Job {
    std::shared_ptr<const StepPlan> plan;
    BatchInputs inputs;
    std::promise<StepResult> result;
  };

  ModelRunner(const ModelRunnerOptions& options, std::shared_ptr<const Model> model,
              Workspace workspace);
  Status Allocate();
  void ThreadMain();
  StepResult Run(Job* job);
  void Forward(const BatchInputs& inputs);
  // For each sequence its first token row with a K or V that is not finite, or kNoRow.
  std::vector<int32_t> FirstFaultyRows(const BatchInputs& inputs) const;
  void Sample(const BatchInputs& inputs, StepResult* result);

  ModelRunnerOptions options_;
  std::shared_ptr<const Model> model_;
  ThreadPool pool_;
  Stream stream_;
  Sampler sampler_;
  Workspace workspace_;
  Buffer kv_;                        // [layer][block][K, V][kv_head][slot][head_dim] bf16
  Buffer hidden_;                    // [max_num_batched_tokens, hidden] bf16
  Buffer gathered_;                  // [kMaxLogitRows, hidden] bf16
  Buffer logits_;                    // [kMaxLogitRows, vocabulary] fp32
  std::vector<uint8_t> row_faults_;  // [max_num_batched_tokens]
  // [max_num_seqs]: 1 if the slot's sequence had a K or V that is not finite: nothing more is drawn
  // for it, though a step that is in flight may still ask.
  std::vector<uint8_t> slot_has_fault_;

  std::mutex mutex_;  // guards everything below
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  bool stopping_ = false;
  std::thread thread_;  // uses the members above the mutex while a job runs
};

}  // namespace vexact

#endif  // VEXACT_ENGINE_MODEL_RUNNER_H_
