#include "engine/model_runner.h"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "base/stopwatch.h"
#include "base/threads.h"
#include "engine/largest_step.h"

namespace vexact {
namespace {

constexpr int32_t kNoRow = std::numeric_limits<int32_t>::max();

}  // namespace

Result<std::unique_ptr<ModelRunner>> ModelRunner::Create(const ModelRunnerOptions& options,
                                                         std::shared_ptr<const Model> model) {
  VX_ASSIGN_OR_RETURN(ThreadPool pool, ThreadPool::Create(options.num_threads));
  auto runner =
      std::unique_ptr<ModelRunner>(new ModelRunner(options, std::move(model), std::move(pool)));
  VX_RETURN_IF_ERROR(runner->Allocate());
  VX_RETURN_IF_ERROR(runner->PrepareLinears());
  VX_ASSIGN_OR_RETURN(runner->thread_,
                      StartThread("the model runner", [r = runner.get()] { r->ThreadMain(); }));
  return runner;
}

ModelRunner::ModelRunner(const ModelRunnerOptions& options, std::shared_ptr<const Model> model,
                         ThreadPool pool)
    : options_(options),
      model_(std::move(model)),
      backend_(model_->backend()),
      pool_(std::move(pool)) {}

Status ModelRunner::Allocate() {
  const ModelConfig& config = model_->config();
  const int64_t tokens = options_.max_num_batched_tokens;
  const int64_t logit_rows = std::min<int64_t>(kMaxLogitRows, tokens);
  const auto hidden_bytes = static_cast<size_t>(config.hidden_size) * sizeof(bf16);
  const auto vocab_bytes = static_cast<size_t>(config.vocab_size) * sizeof(float);
  VX_ASSIGN_OR_RETURN(stream_, backend_.MakeStream(&pool_));
  VX_ASSIGN_OR_RETURN(watch_, backend_.MakeStream(nullptr));
  for (StepMarks& marks : marks_) {
    VX_ASSIGN_OR_RETURN(marks.begin, backend_.MakeMark());
    VX_ASSIGN_OR_RETURN(marks.end, backend_.MakeMark());
  }
  VX_ASSIGN_OR_RETURN(
      inputs_,
      StepInputs::Create(
          backend_, {.max_tokens = tokens,
                     .max_sequences = options_.max_num_seqs,
                     .max_blocks_per_sequence = options_.max_model_len / options_.block_size + 1,
                     .mask = {.kind = options_.mask, .window = config.sliding_window}}));
  VX_ASSIGN_OR_RETURN(sampler_, Sampler::Create(backend_, {.max_num_seqs = options_.max_num_seqs,
                                                           .max_model_len = options_.max_model_len,
                                                           .vocab_size = config.vocab_size,
                                                           .max_step_rows = tokens,
                                                           .max_chunk_rows = logit_rows}));
  VX_ASSIGN_OR_RETURN(workspace_, Workspace::Create(config, backend_,
                                                    {.max_tokens = tokens,
                                                     .max_sequences = options_.max_num_seqs,
                                                     .max_logit_rows = logit_rows}));
  VX_ASSIGN_OR_RETURN(hidden_, backend_.Allocate(tokens * hidden_bytes));
  VX_ASSIGN_OR_RETURN(gathered_, backend_.Allocate(logit_rows * hidden_bytes));
  VX_ASSIGN_OR_RETURN(logits_, backend_.Allocate(logit_rows * vocab_bytes));
  for (Buffer& faults : host_row_faults_) {
    VX_ASSIGN_OR_RETURN(faults, backend_.AllocateStaging(tokens));
  }
  return {};
}

Status ModelRunner::RunLargestStep() {
  Job job;
  job.plan = std::make_shared<const StepPlan>(LargestStep(options_));
  job.inputs = BuildBatch(*job.plan, options_.block_size);
  VX_RETURN_IF_ERROR(AllocateKv(NumBlocksOf(*job.plan)));
  const Status queued = Queue(&job);
  VX_RETURN_IF_ERROR(backend_.Synchronize(stream_.stream));
  if (!queued.ok()) return queued.error();
  // The recordings, which read it, stay until they are made again: their memory is in use too.
  kv_ = Buffer();
  num_blocks_ = 0;
  return {};
}

Status ModelRunner::AllocateKv(int32_t num_blocks) {
  const size_t bytes = static_cast<size_t>(num_blocks) * options_.block_size *
                       static_cast<size_t>(model_->KvBytesPerToken());
  VX_ASSIGN_OR_RETURN(kv_, backend_.Allocate(bytes));
  num_blocks_ = num_blocks;
  VX_RETURN_IF_ERROR(RecordForwards());
  *stream_.counts = {};  // of the engine's steps alone
  return {};
}

// Recorded work has one size for each count of rows; padding rows change no bit, so sizes may be
// few: each step is at most an eighth more than what was asked for, beyond 64 rows.
int64_t ModelRunner::PaddedRows(int64_t rows) const {
  if (!backend_.CanCapture() || rows <= 8) return rows;
  const int64_t unit = rows <= 64 ? 8 : rows <= 256 ? 16 : rows <= 512 ? 32 : 128;
  const int64_t padded = (rows + unit - 1) / unit * unit;
  return std::min<int64_t>(padded, options_.max_num_batched_tokens);
}

std::vector<int64_t> ModelRunner::PaddedSizes() const {
  std::vector<int64_t> sizes;
  for (int64_t rows = 1; rows <= options_.max_num_batched_tokens; ++rows) {
    if (PaddedRows(rows) == rows) sizes.push_back(rows);
  }
  return sizes;
}

Status ModelRunner::PrepareLinears() const {
  if (!backend_.CanCapture()) return {};
  std::vector<int64_t> sizes = PaddedSizes();
  std::vector<LinearProblem> problems = model_->LinearProblems();
  const LinearProblem lm_head = problems.back();
  problems.pop_back();
  VX_RETURN_IF_ERROR(backend_.PrepareLinear(problems, sizes));
  std::erase_if(sizes, [this](int64_t rows) { return rows > workspace_.max_logit_rows(); });
  return backend_.PrepareLinear({&lm_head, 1}, sizes);
}

Status ModelRunner::RecordForwards() {
  recordings_.clear();
  if (!model_->CanCaptureForward()) return {};
  // A step of padding alone, run once without a recording: everything a recording calls is loaded
  // by then.
  const CallCounts calls_of_steps = *stream_.counts;
  const std::vector<int64_t> sizes = PaddedSizes();
  for (const bool decode_only : {false, true}) {
    inputs_.Upload(BatchInputs(), sizes.back(), backend_, stream_.stream);
    RunForward({sizes.back(), decode_only});
    VX_RETURN_IF_ERROR(backend_.Synchronize(stream_.stream));
    for (const int64_t size : sizes) {
      if (decode_only && size > PaddedRows(options_.max_num_seqs)) break;
      const ForwardShape shape = {size, decode_only};
      VX_ASSIGN_OR_RETURN(recordings_[shape],
                          backend_.Capture(stream_.stream, [&] { RunForward(shape); }));
    }
  }
  *stream_.counts = calls_of_steps;
  return {};
}

Status ModelRunner::SetModel(std::shared_ptr<const Model> model) {
  const std::shared_ptr<const Model> before = std::exchange(model_, std::move(model));
  Status recorded = RecordForwards();
  if (!recorded.ok()) {
    recordings_.clear();  // some may be of the other weights
    model_ = before;
  }
  return recorded;
}

ModelRunner::~ModelRunner() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

StepTicket ModelRunner::Launch(std::shared_ptr<const StepPlan> plan, BatchInputs inputs) {
  VX_CHECK(inputs.num_tokens() <= options_.max_num_batched_tokens);
  Job job;
  job.plan = std::move(plan);
  job.inputs = std::move(inputs);
  StepTicket ticket(job.result.get_future());
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_all();
  return ticket;
}

void ModelRunner::ThreadMain() {
  std::deque<Job> in_flight;
  while (true) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] {
      const bool may_queue = !jobs_.empty() && in_flight.size() < kMaxInFlight;
      return !ended_.empty() || may_queue || (stopping_ && in_flight.empty());
    });
    // Results first: on a CPU, queueing the next step is computing it.
    if (!ended_.empty()) {
      const std::string error = std::move(ended_.front());
      ended_.pop_front();
      lock.unlock();
      Finish(&in_flight.front(), error);
      in_flight.pop_front();
      continue;
    }
    if (jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();

    if (const Status status = Queue(&job); !status.ok()) job.error = status.error().message;
    in_flight.push_back(std::move(job));
    backend_.WaitForMark(marks_[in_flight.back().marks].end, watch_.stream);
    backend_.Notify(
        watch_.stream,
        [](void* data, const char* error) {
          auto* const runner = static_cast<ModelRunner*>(data);
          const std::lock_guard ended_lock(runner->mutex_);
          runner->ended_.emplace_back(error == nullptr ? "" : error);
          runner->wake_.notify_all();  // under the lock: the runner may end once it is released
        },
        this);
  }
}

Status ModelRunner::Queue(Job* job) {
  const Stopwatch stopwatch;
  job->begun = Clock::now();
  job->marks = num_queued_++ % marks_.size();
  job->sampling = sampler_->BeginStep();
  for (const StartedSequence& started : job->plan->started) sampler_->Start(started);
  QueueForward(*job);
  Status status = QueueSampling(*job);
  backend_.Mark(marks_[job->marks].end, stream_.stream);
  if (!backend_.UsesHostMemory()) job->host_ms = stopwatch.milliseconds();
  return status;
}

ModelRunner::ForwardShape ModelRunner::ShapeOf(const BatchInputs& inputs) const {
  return {PaddedRows(inputs.num_tokens()), inputs.num_tokens() == inputs.num_sequences()};
}

void ModelRunner::QueueForward(const Job& job) {
  const ForwardShape shape = ShapeOf(job.inputs);
  inputs_.Upload(job.inputs, shape.padded_tokens, backend_, stream_.stream);
  backend_.Mark(marks_[job.marks].begin, stream_.stream);
  const auto recording = recordings_.find(shape);
  if (recording == recordings_.end()) {
    RunForward(shape);
  } else {
    backend_.Replay(recording->second, stream_.stream);
  }
}

void ModelRunner::RunForward(const ForwardShape& shape) {
  ForwardInputs forward = inputs_.Forward(shape.padded_tokens);
  forward.sequences.max_rows = shape.decode_only ? 1 : shape.padded_tokens;
  forward.newest_tokens = sampler_->newest_tokens();
  const KvPoolView pool{kv_.as<bf16>(), num_blocks_, options_.block_size};
  const Rows<bf16> hidden(hidden_.as<bf16>(), shape.padded_tokens, model_->config().hidden_size);
  model_->Forward(forward, pool, workspace_, hidden, stream_.stream);
}

Status ModelRunner::QueueSampling(const Job& job) {
  const int64_t num_tokens = job.inputs.num_tokens();
  const int64_t padded_tokens = PaddedRows(num_tokens);
  const ModelConfig& config = model_->config();
  const Rows<const bf16> hidden(hidden_.as<bf16>(), num_tokens, config.hidden_size);
  const std::span<const LogitRow> rows = job.inputs.logit_rows;
  const auto max_rows = static_cast<size_t>(workspace_.max_logit_rows());
  for (size_t begin = 0; begin < rows.size(); begin += max_rows) {
    const std::span<const LogitRow> chunk =
        rows.subspan(begin, std::min(max_rows, rows.size() - begin));
    const auto num_rows = static_cast<int64_t>(chunk.size());
    const int64_t padded_rows =
        std::min<int64_t>(PaddedRows(num_rows), workspace_.max_logit_rows());
    const Rows<bf16> gathered(gathered_.as<bf16>(), padded_rows, config.hidden_size);
    const Rows<float> logits(logits_.as<float>(), padded_rows, config.vocab_size);
    backend_.Embedding({.table = hidden,
                        .ids = inputs_.LogitTokenRows(padded_tokens) + begin,
                        .y = gathered.Slice(0, num_rows)},
                       stream_.stream);
    model_->Logits(gathered, workspace_, logits, stream_.stream);
    VX_RETURN_IF_ERROR(sampler_->Queue(logits.Slice(0, num_rows), chunk, stream_.stream));
  }
  sampler_->QueueDownload(stream_.stream);
  backend_.Download(host_row_faults_[job.sampling].data(),
                    inputs_.Forward(padded_tokens).row_faults, static_cast<size_t>(num_tokens),
                    stream_.stream);
  return {};
}

void ModelRunner::Finish(Job* job, const std::string& stream_error) {
  const Stopwatch stopwatch;
  if (job->error.empty()) job->error = stream_error;
  StepResult result = ResultOf(*job);
  if (stream_error.empty() && last_finish_ != Clock::time_point()) {
    const StepMarks& before = marks_[(job->marks + marks_.size() - 1) % marks_.size()];
    result.idle_ms = backend_.MillisecondsBetween(before.end, marks_[job->marks].begin);
  }
  const Clock::time_point now = Clock::now();
  const std::chrono::duration<double, std::milli> elapsed =
      now - std::max(job->begun, last_finish_);
  last_finish_ = now;
  result.milliseconds = elapsed.count();
  result.host_ms = job->host_ms + stopwatch.milliseconds();
  result.calls = *stream_.counts;
  job->plan.reset();
  job->result.set_value(std::move(result));
}

StepResult ModelRunner::ResultOf(const Job& job) {
  StepResult result;
  result.step = job.plan->step;
  result.sequences.resize(job.plan->sequences.size());
  const auto fail = [&](size_t s, const SequenceFault& fault) {
    result.sequences[s].fault = fault;
    sampler_->Fail(job.plan->sequences[s].slot, fault);
  };
  if (!job.error.empty()) {
    for (size_t s = 0; s < result.sequences.size(); ++s) fail(s, {job.error, FaultCause::kEngine});
    return result;
  }
  // What comes first in the text is what the request fails with, however the text was cut: rows
  // before a fault are still looked at.
  const std::vector<int32_t> faulty_rows = FirstFaultyRows(job);
  sampler_->Finish(job.sampling, job.inputs.logit_rows, faulty_rows, &result);
  for (size_t s = 0; s < result.sequences.size(); ++s) {
    if (faulty_rows[s] == kNoRow) continue;
    SequenceFault fault = result.sequences[s].fault;
    if (fault.empty()) {
      fault = {fmt::format("position {}: keys and values: expected finite values, found others",
                           job.inputs.positions[faulty_rows[s]]),
               FaultCause::kWeights};
    }
    fail(s, fault);
  }
  return result;
}

std::vector<int32_t> ModelRunner::FirstFaultyRows(const Job& job) const {
  const BatchInputs& inputs = job.inputs;
  const auto* const faults = host_row_faults_[job.sampling].as<uint8_t>();
  std::vector<int32_t> rows;
  for (int64_t s = 0; s < inputs.num_sequences(); ++s) {
    const uint8_t* const begin = faults + inputs.query_start[s];
    const uint8_t* const end = faults + inputs.query_start[s + 1];
    const uint8_t* const fault = std::find(begin, end, uint8_t{1});
    rows.push_back(fault == end ? kNoRow : static_cast<int32_t>(fault - faults));
  }
  return rows;
}

}  // namespace vexact
