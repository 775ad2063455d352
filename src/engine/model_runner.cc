#include "engine/model_runner.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

namespace vexact {
namespace {

constexpr int32_t kNoRow = std::numeric_limits<int32_t>::max();

}  // namespace

Result<std::unique_ptr<ModelRunner>> ModelRunner::Create(const ModelRunnerOptions& options,
                                                         std::shared_ptr<const Model> model) {
  VX_ASSIGN_OR_RETURN(
      Workspace workspace,
      Workspace::Create(model->config(), model->backend(), options.max_num_batched_tokens,
                        std::min<int64_t>(kMaxLogitRows, options.max_num_batched_tokens)));
  auto runner = std::unique_ptr<ModelRunner>(
      new ModelRunner(options, std::move(model), std::move(workspace)));
  VX_RETURN_IF_ERROR(runner->Allocate());
  runner->thread_ = std::thread([r = runner.get()] { r->ThreadMain(); });
  return runner;
}

ModelRunner::ModelRunner(const ModelRunnerOptions& options, std::shared_ptr<const Model> model,
                         Workspace workspace)
    : options_(options),
      model_(std::move(model)),
      pool_(options.num_threads),
      stream_{&pool_},
      sampler_(model_->backend(), options.max_num_seqs, model_->config().vocab_size),
      workspace_(std::move(workspace)) {}

Status ModelRunner::Allocate() {
  const Backend& backend = model_->backend();
  const auto hidden_bytes = static_cast<size_t>(model_->config().hidden_size) * sizeof(bf16);
  const auto vocab_bytes = static_cast<size_t>(model_->config().vocab_size) * sizeof(float);
  const auto tokens = static_cast<size_t>(options_.max_num_batched_tokens);
  const auto logit_rows = static_cast<size_t>(workspace_.max_logit_rows());
  const size_t kv_bytes = static_cast<size_t>(options_.num_blocks) * options_.block_size *
                          static_cast<size_t>(model_->KvBytesPerToken());
  VX_ASSIGN_OR_RETURN(kv_, backend.Allocate(kv_bytes));
  VX_ASSIGN_OR_RETURN(hidden_, backend.Allocate(tokens * hidden_bytes));
  VX_ASSIGN_OR_RETURN(gathered_, backend.Allocate(logit_rows * hidden_bytes));
  VX_ASSIGN_OR_RETURN(logits_, backend.Allocate(logit_rows * vocab_bytes));
  row_faults_.resize(tokens);
  slot_has_fault_.resize(options_.max_num_seqs);
  return {};
}

ModelRunner::~ModelRunner() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

StepTicket ModelRunner::Launch(std::shared_ptr<const StepPlan> plan, BatchInputs inputs) {
  VX_CHECK(inputs.num_tokens() <= options_.max_num_batched_tokens);
  Job job{std::move(plan), std::move(inputs), {}};
  StepTicket ticket(job.result.get_future());
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
  return ticket;
}

void ModelRunner::ThreadMain() {
  while (true) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    StepResult result = Run(&job);
    job.plan.reset();
    job.result.set_value(std::move(result));
  }
}

StepResult ModelRunner::Run(Job* job) {
  const auto start = std::chrono::steady_clock::now();
  BatchInputs& inputs = job->inputs;
  for (const StartedSequence& started : job->plan->started) {
    sampler_.Start(started);
    slot_has_fault_[started.slot] = 0;
  }
  for (size_t t = 0; t < inputs.token_ids.size(); ++t) {
    const int32_t slot = inputs.pending_slots[t];
    if (slot >= 0) inputs.token_ids[t] = sampler_.NewestToken(slot);
  }
  StepResult result;
  result.step = job->plan->step;
  result.sequences.resize(job->plan->sequences.size());
  Forward(inputs);
  const std::vector<int32_t> faulty_rows = FirstFaultyRows(inputs);
  // What comes first in the text is what the request fails with, however the text was cut: rows
  // before a fault are still looked at.
  std::erase_if(inputs.logit_rows, [&](const LogitRow& row) {
    return row.token_row >= faulty_rows[row.sequence] || slot_has_fault_[row.slot] != 0;
  });
  Sample(inputs, &result);
  for (size_t s = 0; s < result.sequences.size(); ++s) {
    if (faulty_rows[s] == kNoRow) continue;
    slot_has_fault_[job->plan->sequences[s].slot] = 1;
    if (!result.sequences[s].fault.empty()) continue;
    result.sequences[s].fault =
        fmt::format("position {}: keys and values: expected finite values, found others",
                    inputs.positions[faulty_rows[s]]);
  }
  const std::chrono::duration<double, std::milli> elapsed =
      std::chrono::steady_clock::now() - start;
  result.milliseconds = elapsed.count();
  return result;
}

void ModelRunner::Forward(const BatchInputs& inputs) {
  std::ranges::fill(row_faults_, uint8_t{0});
  ForwardInputs forward;
  forward.num_tokens = inputs.num_tokens();
  forward.num_sequences = inputs.num_sequences();
  forward.token_ids = inputs.token_ids.data();
  forward.positions = inputs.positions.data();
  forward.kv_slots = inputs.kv_slots.data();
  forward.query_start = inputs.query_start.data();
  forward.context_len = inputs.context_len.data();
  forward.block_tables = inputs.block_tables.data();
  forward.block_table_stride = inputs.block_table_stride;
  forward.row_faults = row_faults_.data();
  const KvPoolView pool{kv_.as<bf16>(), options_.num_blocks, options_.block_size};
  const Rows<bf16> hidden(hidden_.as<bf16>(), inputs.num_tokens(), model_->config().hidden_size);
  model_->Forward(forward, pool, workspace_, hidden, stream_);
}

std::vector<int32_t> ModelRunner::FirstFaultyRows(const BatchInputs& inputs) const {
  std::vector<int32_t> rows;
  for (int64_t s = 0; s < inputs.num_sequences(); ++s) {
    const auto begin = row_faults_.begin() + inputs.query_start[s];
    const auto end = row_faults_.begin() + inputs.query_start[s + 1];
    const auto fault = std::find(begin, end, uint8_t{1});
    rows.push_back(fault == end ? kNoRow : static_cast<int32_t>(fault - row_faults_.begin()));
  }
  return rows;
}

void ModelRunner::Sample(const BatchInputs& inputs, StepResult* result) {
  const int64_t cols = model_->config().hidden_size;
  const std::span<const LogitRow> rows = inputs.logit_rows;
  const auto max_rows = static_cast<size_t>(workspace_.max_logit_rows());
  for (size_t begin = 0; begin < rows.size(); begin += max_rows) {
    const std::span<const LogitRow> chunk =
        rows.subspan(begin, std::min(max_rows, rows.size() - begin));
    const auto num_rows = static_cast<int64_t>(chunk.size());
    const Rows<bf16> gathered(gathered_.as<bf16>(), num_rows, cols);
    for (int64_t r = 0; r < num_rows; ++r) {
      std::memcpy(gathered[r], hidden_.as<bf16>() + chunk[r].token_row * cols, cols * sizeof(bf16));
    }
    const Rows<float> logits(logits_.as<float>(), num_rows, model_->config().vocab_size);
    model_->Logits(gathered, workspace_, logits, stream_);
    sampler_.Run(logits, chunk, result, stream_);
  }
}

}  // namespace vexact
