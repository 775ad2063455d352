#include "sampler/sampler.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/check.h"
#include "sampler/sampler_slot.h"

namespace vexact {
namespace {

std::string NameOfValue(float value) {
  return std::isnan(value) ? "NaN" : fmt::format("{}", value);
}

std::string LogitFault(const LogitRow& row, int32_t id, float value) {
  return fmt::format(
      "position {}: logits: expected finite values below {} in magnitude, found {} at token id {}",
      row.position, kLogitLimit, NameOfValue(value), id);
}

std::string OutcomeFault(const LogitRow& row, const SampleOutcome& outcome) {
  if (outcome.fault == SampleFault::kNothingAllowed) {
    return fmt::format(
        "position {}: expected at least one token id to choose from, found none "
        "(allowed_token_ids, bad_words, stop ids before min_tokens)",
        row.position);
  }
  return fmt::format(
      "position {}: logits after bias, penalties and temperature: expected finite values below {} "
      "in magnitude, found {} at token id {}",
      row.position, kLogitLimit, NameOfValue(outcome.fault_value), outcome.fault_id);
}

// The top_k of a row's report; -1: the logprob alone.
int32_t NumTop(const LogitRow& row, const SamplingParams& params) {
  return (row.in_prompt ? params.prompt_logprobs : params.logprobs).value_or(-1);
}

bool IsPlain(const SampleRow& row) {
  const bool has_arrays =
      row.allowed != nullptr || row.num_banned > 0 || row.num_bias > 0 || row.num_history > 0;
  const bool filters = row.log_min_p != kDropped || row.top_k > 0 || row.top_p != kTopPOff;
  return !has_arrays && !row.keeps_processed &&
         (row.greedy || (row.inverse_temperature == 1.0f && !filters));
}

// An upper bound of what a row's arrays take in the arena.
size_t ArenaBytes(const SampleRow& row, int64_t vocab_size) {
  const size_t allowed = row.allowed == nullptr ? 0 : (vocab_size + 31) / 32 * sizeof(uint32_t);
  return allowed + row.num_banned * sizeof(int32_t) + row.num_bias * sizeof(TokenBias) +
         row.num_history * sizeof(TokenCount) + 4 * UploadArena::kAlignment;
}

template <typename T>
std::span<const T> Span(const T* data, int64_t size) {
  return {data, data == nullptr ? 0 : static_cast<size_t>(size)};
}

}  // namespace

// [max_step_rows] each, but for the tops: [num_top], grown when a step asks for more.
struct Sampler::StepArrays {
  Buffer sums;          // LogitSums
  Buffer drawn;         // int32, of rows that draw
  Buffer outcomes;      // SampleOutcome, of the rows that were sampled
  Buffer answers;       // LogprobAnswer
  Buffer top_ids;       // int32
  Buffer top_logprobs;  // float
};

Sampler::Sampler(const Backend& backend, const SamplerLimits& limits)
    : backend_(backend),
      limits_(limits),
      slots_(limits.max_num_seqs),
      arena_(backend),
      device_(std::make_unique<StepArrays>()),
      host_(std::make_unique<StepArrays>()) {
  VX_CHECK(limits.vocab_size >= 1 && limits.vocab_size <= kMaxVocab);
}

Sampler::~Sampler() = default;

Result<std::unique_ptr<Sampler>> Sampler::Create(const Backend& backend,
                                                 const SamplerLimits& limits) {
  std::unique_ptr<Sampler> sampler(new Sampler(backend, limits));
  VX_RETURN_IF_ERROR(sampler->Allocate());
  return sampler;
}

Status Sampler::Allocate() {
  const auto rows = static_cast<size_t>(limits_.max_step_rows);
  const auto chunk_blocks =
      static_cast<size_t>(limits_.max_chunk_rows * NumVocabBlocks(limits_.vocab_size));
  VX_ASSIGN_OR_RETURN(newest_tokens_, backend_.Allocate(slots_.size() * sizeof(int32_t)));
  VX_ASSIGN_OR_RETURN(block_max_, backend_.Allocate(chunk_blocks * sizeof(float)));
  VX_ASSIGN_OR_RETURN(block_sums_, backend_.Allocate(chunk_blocks * sizeof(uint64_t)));
  VX_ASSIGN_OR_RETURN(device_->sums, backend_.Allocate(rows * sizeof(LogitSums)));
  VX_ASSIGN_OR_RETURN(device_->drawn, backend_.Allocate(rows * sizeof(int32_t)));
  VX_ASSIGN_OR_RETURN(device_->outcomes, backend_.Allocate(rows * sizeof(SampleOutcome)));
  VX_ASSIGN_OR_RETURN(device_->answers, backend_.Allocate(rows * sizeof(LogprobAnswer)));
  VX_ASSIGN_OR_RETURN(host_->sums, backend_.AllocateStaging(rows * sizeof(LogitSums)));
  VX_ASSIGN_OR_RETURN(host_->outcomes, backend_.AllocateStaging(rows * sizeof(SampleOutcome)));
  VX_ASSIGN_OR_RETURN(host_->answers, backend_.AllocateStaging(rows * sizeof(LogprobAnswer)));
  return {};
}

void Sampler::Start(const StartedSequence& started) {
  slots_.at(started.slot) = std::make_unique<SamplerSlot>(started, limits_.vocab_size);
}

void Sampler::Fail(int32_t slot, const std::string& fault) { slots_.at(slot)->Fail(fault); }

void Sampler::BeginStep() {
  arena_.Clear();
  queued_.clear();
  num_outcomes_ = 0;
  num_top_ = 0;
}

// Rows of the chunk that Sample has to see: drawn from, or answered from processed logits. Their
// arrays live in slots and in `arrays` until they are in the arena.
std::vector<SampleRow> Sampler::SampleRowsOf(std::span<const LogitRow> rows,
                                             std::vector<RowArrays>* arrays) {
  std::vector<SampleRow> sample_rows;
  arrays->resize(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const LogitRow& row = rows[i];
    SamplerSlot& slot = *slots_.at(row.slot);
    const bool processed =
        !row.in_prompt && slot.params().logprobs_mode == LogprobsMode::kProcessed;
    if (!slot.fault().empty() || !(row.draws || row.redraws || processed)) continue;
    SampleRow sample = slot.RowAt(row, &(*arrays)[i]);
    sample.row = static_cast<int32_t>(i);
    sample.slot = row.redraws ? -1 : row.slot;  // what is drawn again goes nowhere
    sample.keeps_processed = processed;
    sample_rows.push_back(sample);
  }
  return sample_rows;
}

std::vector<LogprobQuery> Sampler::QueriesOf(std::span<const LogitRow> rows) {
  std::vector<LogprobQuery> queries;
  for (size_t i = 0; i < rows.size(); ++i) {
    const LogitRow& row = rows[i];
    LogprobQuery query;
    query.row = static_cast<int32_t>(i);
    query.id = row.draws ? -1 : row.target_id;
    query.num_top = NumTop(row, slots_.at(row.slot)->params());
    query.top_offset = num_top_;
    num_top_ += std::max(query.num_top, 0);
    queries.push_back(query);
  }
  return queries;
}

// Grows the arrays of the most likely ids; those of the step's earlier chunks move along.
Status Sampler::EnsureTops(int64_t num_top, int64_t used, Stream& stream) {
  const auto capacity = static_cast<int64_t>(host_->top_ids.bytes() / sizeof(int32_t));
  if (num_top <= capacity) return {};
  const size_t count = std::max(num_top, 2 * capacity);
  VX_ASSIGN_OR_RETURN(Buffer ids, backend_.Allocate(count * sizeof(int32_t)));
  VX_ASSIGN_OR_RETURN(Buffer logprobs, backend_.Allocate(count * sizeof(float)));
  VX_ASSIGN_OR_RETURN(Buffer host_ids, backend_.AllocateStaging(count * sizeof(int32_t)));
  VX_ASSIGN_OR_RETURN(Buffer host_logprobs, backend_.AllocateStaging(count * sizeof(float)));
  if (used > 0) {
    backend_.Download(host_ids.data(), device_->top_ids.data(), used * sizeof(int32_t), stream);
    backend_.Download(host_logprobs.data(), device_->top_logprobs.data(), used * sizeof(float),
                      stream);
    backend_.Upload(ids.data(), host_ids.data(), used * sizeof(int32_t), stream);
    backend_.Upload(logprobs.data(), host_logprobs.data(), used * sizeof(float), stream);
    VX_RETURN_IF_ERROR(backend_.Synchronize(stream));
  }
  device_->top_ids = std::move(ids);
  device_->top_logprobs = std::move(logprobs);
  host_->top_ids = std::move(host_ids);
  host_->top_logprobs = std::move(host_logprobs);
  return {};
}

Status Sampler::Queue(Rows<float> logits, std::span<const LogitRow> rows, Stream& stream) {
  const auto first = static_cast<int64_t>(queued_.size());
  VX_CHECK(logits.cols == limits_.vocab_size && logits.rows == static_cast<int64_t>(rows.size()));
  VX_CHECK(logits.rows <= limits_.max_chunk_rows && first + logits.rows <= limits_.max_step_rows);
  const int64_t blocks = NumVocabBlocks(limits_.vocab_size);
  const Rows<float> block_max(block_max_.as<float>(), logits.rows, blocks);
  const Rows<uint64_t> block_sums(block_sums_.as<uint64_t>(), logits.rows, blocks);
  LogitSums* const sums = device_->sums.as<LogitSums>() + first;
  int32_t* const drawn = device_->drawn.as<int32_t>() + first;

  std::vector<RowArrays> arrays;
  std::vector<SampleRow> sample_rows = SampleRowsOf(rows, &arrays);
  const int64_t tops_before = num_top_;
  const std::vector<LogprobQuery> queries = QueriesOf(rows);
  VX_RETURN_IF_ERROR(EnsureTops(num_top_, tops_before, stream));
  size_t bytes = queries.size() * sizeof(LogprobQuery) + sample_rows.size() * sizeof(SampleRow);
  for (const SampleRow& row : sample_rows) bytes += ArenaBytes(row, limits_.vocab_size);
  VX_RETURN_IF_ERROR(arena_.Reserve(bytes + 2 * UploadArena::kAlignment, stream));

  queued_.resize(first + logits.rows);
  bool all_plain = true;
  for (size_t n = 0; n < sample_rows.size(); ++n) {
    SampleRow& row = sample_rows[n];
    all_plain = all_plain && IsPlain(row);
    queued_[first + row.row].outcome = num_outcomes_ + static_cast<int64_t>(n);
    row.banned = arena_.Add(Span(row.banned, row.num_banned));
    row.bias = arena_.Add(Span(row.bias, row.num_bias));
    row.history = arena_.Add(Span(row.history, row.num_history));
    row.allowed = arena_.Add(Span(row.allowed, (limits_.vocab_size + 31) / 32));
  }
  for (size_t i = 0; i < queries.size(); ++i) {
    queued_[first + static_cast<int64_t>(i)].num_top = queries[i].num_top;
    queued_[first + static_cast<int64_t>(i)].top_offset = queries[i].top_offset;
  }
  const SampleRow* const rows_address = arena_.Add(std::span<const SampleRow>(sample_rows));
  const LogprobQuery* const query_address = arena_.Add(std::span<const LogprobQuery>(queries));
  arena_.Upload(stream);

  backend_.SumLogits(
      {.logits = logits, .sums = sums, .block_max = block_max, .block_sums = block_sums}, stream);
  backend_.Sample({.logits = logits,
                   .sums = sums,
                   .block_max = block_max,
                   .block_sums = block_sums,
                   .num_rows = static_cast<int64_t>(sample_rows.size()),
                   .rows = rows_address,
                   .outcomes = device_->outcomes.as<SampleOutcome>() + num_outcomes_,
                   .drawn = drawn,
                   .newest_tokens = newest_tokens_.as<int32_t>(),
                   .all_plain = all_plain},
                  stream);
  num_outcomes_ += static_cast<int64_t>(sample_rows.size());
  backend_.Logprob({.logits = logits,
                    .sums = sums,
                    .block_max = block_max,
                    .num_queries = static_cast<int64_t>(queries.size()),
                    .queries = query_address,
                    .drawn = drawn,
                    .answers = device_->answers.as<LogprobAnswer>() + first,
                    .top_ids = device_->top_ids.as<int32_t>(),
                    .top_logprobs = device_->top_logprobs.as<float>()},
                   stream);
  return {};
}

void Sampler::QueueDownload(Stream& stream) {
  const size_t rows = queued_.size();
  const auto download = [&](const Buffer& to, const Buffer& from, size_t bytes) {
    if (bytes > 0) backend_.Download(to.data(), from.data(), bytes, stream);
  };
  download(host_->sums, device_->sums, rows * sizeof(LogitSums));
  download(host_->outcomes, device_->outcomes, num_outcomes_ * sizeof(SampleOutcome));
  download(host_->answers, device_->answers, rows * sizeof(LogprobAnswer));
  download(host_->top_ids, device_->top_ids, num_top_ * sizeof(int32_t));
  download(host_->top_logprobs, device_->top_logprobs, num_top_ * sizeof(float));
}

std::string Sampler::FaultOf(int64_t i, const LogitRow& row) const {
  const LogitSums& sums = host_->sums.as<LogitSums>()[i];
  if (sums.fault_id >= 0) return LogitFault(row, sums.fault_id, sums.fault_value);
  if (queued_[i].outcome < 0) return "";
  const SampleOutcome& outcome = host_->outcomes.as<SampleOutcome>()[queued_[i].outcome];
  return outcome.fault == SampleFault::kNone ? "" : OutcomeFault(row, outcome);
}

TokenLogprob Sampler::Answer(int64_t i, const LogitRow& row) const {
  const LogprobAnswer& answer = host_->answers.as<LogprobAnswer>()[i];
  const int32_t id =
      row.draws ? host_->outcomes.as<SampleOutcome>()[queued_[i].outcome].token : row.target_id;
  TokenLogprob token{id, answer.logprob, answer.rank, {}};
  token.top.reserve(answer.num_top);
  for (int32_t n = 0; n < answer.num_top; ++n) {
    const int64_t at = queued_[i].top_offset + n;
    token.top.push_back({host_->top_ids.as<int32_t>()[at], host_->top_logprobs.as<float>()[at]});
  }
  return token;
}

void Sampler::Finish(std::span<const LogitRow> rows, std::span<const int32_t> first_faulty_rows,
                     StepResult* result) {
  VX_CHECK(rows.size() == queued_.size());
  for (size_t n = 0; n < rows.size(); ++n) {
    const LogitRow& row = rows[n];
    const auto i = static_cast<int64_t>(n);
    if (row.token_row >= first_faulty_rows[row.sequence]) continue;
    SequenceResult& sequence = result->sequences[row.sequence];
    SamplerSlot& slot = *slots_[row.slot];
    if (sequence.fault.empty()) sequence.fault = slot.fault();
    if (sequence.fault.empty()) sequence.fault = FaultOf(i, row);
    if (!sequence.fault.empty()) {
      slot.Fail(sequence.fault);
    } else if (row.draws) {
      sequence.drawn = Answer(i, row);
      slot.Append(sequence.drawn.token_id);
    } else {
      sequence.targets.push_back(Answer(i, row));
      if (row.redraws) {
        sequence.redrawn.push_back(host_->outcomes.as<SampleOutcome>()[queued_[i].outcome].token);
      }
    }
  }
}

}  // namespace vexact
