#include "sampler/sampler.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "base/check.h"
#include "sampler/sampler_slot.h"
#include "sampler/upload_arena.h"

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

// The field that leaves nothing to draw: the first of those that may have.
std::string_view RestrictingField(const SamplingParams& params) {
  if (params.allowed_token_ids) return "allowed_token_ids";
  return params.bad_word_ids.empty() ? "min_tokens" : "bad_words";
}

// The field that makes a logit overflow: likewise.
std::string_view ScalingField(const SamplingParams& params) {
  if (!params.logit_bias.empty()) return "logit_bias";
  return params.repetition_penalty == 1.0 ? "temperature" : "repetition_penalty";
}

std::string OutcomeFault(const LogitRow& row, const SampleOutcome& outcome,
                         const SamplingParams& params) {
  VX_CHECK(outcome.fault != SampleFault::kEarlier, "the slot's fault was found before this row");
  if (outcome.fault == SampleFault::kNothingAllowed) {
    return fmt::format(
        "{}: position {}: expected at least one token id to choose from, found none "
        "(allowed_token_ids, bad_words, stop ids before min_tokens)",
        RestrictingField(params), row.position);
  }
  return fmt::format(
      "{}: position {}: logits after bias, penalties and temperature: expected finite values below "
      "{} in magnitude, found {} at token id {}",
      ScalingField(params), row.position, kLogitLimit, NameOfValue(outcome.fault_value),
      outcome.fault_id);
}

// The top_k of a row's report; -1: the logprob alone.
int32_t NumTop(const LogitRow& row, const SamplingParams& params) {
  return (row.in_prompt ? params.prompt_logprobs : params.logprobs).value_or(-1);
}

// [max_step_rows] each, but for the tops: [num_top], grown when a step asks for more.
struct StepArrays {
  Buffer sums;          // LogitSums
  Buffer drawn;         // int32, of rows that draw
  Buffer outcomes;      // SampleOutcome, of the rows that were sampled
  Buffer answers;       // LogprobAnswer
  Buffer top_ids;       // int32
  Buffer top_logprobs;  // float
};

// Where a row's answers are, of all rows of the step.
struct QueuedRow {
  int64_t outcome = -1;  // of Sample; -1: the row was not sampled
  int64_t top_offset = 0;
};

}  // namespace

// What one step's rows are asked and answer. A step has its own, so that the next one can be queued
// before the host has read it.
struct Sampler::Step {
  explicit Step(const Backend& backend) : arena(backend) {}

  // The outcome of a row that was sampled.
  const SampleOutcome& OutcomeOf(int64_t i) const {
    return host.outcomes.as<SampleOutcome>()[queued[i].outcome];
  }
  SequenceFault FaultOf(int64_t i, const LogitRow& row, const SamplingParams& params) const;
  TokenLogprob Answer(int64_t i, const LogitRow& row) const;

  UploadArena arena;
  StepArrays device;
  StepArrays host;  // what Finish reads of it
  std::vector<QueuedRow> queued;
  int64_t num_outcomes = 0;
  int64_t num_top = 0;
};

Sampler::Sampler(const Backend& backend, const SamplerLimits& limits)
    : backend_(backend),
      limits_(limits),
      slots_(limits.max_num_seqs),
      constants_(limits.max_num_seqs) {
  VX_CHECK(limits.vocab_size >= 1 && limits.vocab_size <= kMaxVocab);
  VX_CHECK(limits.max_num_seqs >= 1 && limits.max_model_len >= 1, "room for a sequence");
  VX_CHECK(limits.max_chunk_rows >= 1 && limits.max_step_rows >= limits.max_chunk_rows,
           "room for a chunk of rows");
  for (std::unique_ptr<Step>& step : steps_) step = std::make_unique<Step>(backend);
}

Sampler::~Sampler() = default;

Result<std::unique_ptr<Sampler>> Sampler::Create(const Backend& backend,
                                                 const SamplerLimits& limits) {
  std::unique_ptr<Sampler> sampler(new Sampler(backend, limits));
  VX_RETURN_IF_ERROR(sampler->Allocate());
  return sampler;
}

Status Sampler::Allocate() {
  const size_t slots = slots_.size();
  const auto chunk_blocks =
      static_cast<size_t>(limits_.max_chunk_rows * NumVocabBlocks(limits_.vocab_size));
  const auto sequence_bytes = static_cast<size_t>(limits_.max_model_len) * sizeof(int32_t);
  VX_ASSIGN_OR_RETURN(tokens_, backend_.Allocate(slots * sequence_bytes));
  VX_ASSIGN_OR_RETURN(newest_tokens_, backend_.Allocate(slots * sizeof(int32_t)));
  VX_ASSIGN_OR_RETURN(failed_owners_, backend_.Allocate(slots * sizeof(int64_t)));
  VX_ASSIGN_OR_RETURN(block_max_, backend_.Allocate(chunk_blocks * sizeof(float)));
  VX_ASSIGN_OR_RETURN(block_sums_, backend_.Allocate(chunk_blocks * sizeof(uint64_t)));
  for (const std::unique_ptr<Step>& step : steps_) VX_RETURN_IF_ERROR(AllocateStep(step.get()));
  return {};
}

Status Sampler::AllocateStep(Step* step) const {
  const auto rows = static_cast<size_t>(limits_.max_step_rows);
  const auto chunks = static_cast<size_t>(limits_.max_step_rows / limits_.max_chunk_rows + 1);
  VX_RETURN_IF_ERROR(step->arena.Allocate(rows * (sizeof(SampleRow) + sizeof(LogprobQuery)) +
                                          3 * (chunks + 1) * UploadArena::kAlignment));
  StepArrays& device = step->device;
  VX_ASSIGN_OR_RETURN(device.sums, backend_.Allocate(rows * sizeof(LogitSums)));
  VX_ASSIGN_OR_RETURN(device.drawn, backend_.Allocate(rows * sizeof(int32_t)));
  VX_ASSIGN_OR_RETURN(device.outcomes, backend_.Allocate(rows * sizeof(SampleOutcome)));
  VX_ASSIGN_OR_RETURN(device.answers, backend_.Allocate(rows * sizeof(LogprobAnswer)));
  StepArrays& host = step->host;
  VX_ASSIGN_OR_RETURN(host.sums, backend_.AllocateStaging(rows * sizeof(LogitSums)));
  VX_ASSIGN_OR_RETURN(host.outcomes, backend_.AllocateStaging(rows * sizeof(SampleOutcome)));
  VX_ASSIGN_OR_RETURN(host.answers, backend_.AllocateStaging(rows * sizeof(LogprobAnswer)));
  return {};
}

void Sampler::Start(const StartedSequence& started) {
  slots_.at(started.slot) =
      std::make_unique<SamplerSlot>(started, limits_.vocab_size, ++num_started_);
}

void Sampler::Fail(int32_t slot, const SequenceFault& fault) { slots_.at(slot)->Fail(fault); }

int Sampler::BeginStep() {
  last_begun_ = 1 - last_begun_;
  Step& step = begun();
  step.arena.Clear();
  step.queued.clear();
  step.num_outcomes = 0;
  step.num_top = 0;
  return last_begun_;
}

// Uploads what the rows' slots need, where it was not yet.
Status Sampler::PlaceSlots(std::span<const LogitRow> rows, Stream& stream) {
  UploadArena& arena = begun().arena;
  for (const LogitRow& row : rows) {
    VX_CHECK(slots_.at(row.slot) != nullptr, "a slot that a sequence has taken");
    SamplerSlot& slot = *slots_.at(row.slot);
    if (slot.is_placed()) continue;
    Buffer& constants = constants_[row.slot];
    const size_t bytes = slot.constants().size() * sizeof(uint32_t);
    // No work on its way reads the old ones: the slot's last sequence has been collected.
    if (constants.bytes() < bytes) {
      VX_ASSIGN_OR_RETURN(constants, backend_.Allocate(bytes));
    }
    int32_t* const tokens =
        tokens_.as<int32_t>() + int64_t{row.slot} * int64_t{limits_.max_model_len};
    const std::vector<int32_t>& known = slot.known_tokens();
    VX_CHECK(known.size() <= static_cast<size_t>(limits_.max_model_len));
    VX_RETURN_IF_ERROR(arena.Reserve(
        bytes + known.size() * sizeof(int32_t) + 2 * UploadArena::kAlignment, stream));
    arena.UploadTo(constants.as<uint32_t>(), std::span(slot.constants()), stream);
    arena.UploadTo(tokens, std::span(known), stream);
    slot.Place(constants.as<uint32_t>(), tokens);
  }
  return {};
}

// Rows of the chunk that Sample has to see: drawn from, or answered from processed logits. Edited
// ones first: a GPU takes memory for copies of their logits alone.
std::vector<SampleRow> Sampler::SampleRowsOf(std::span<const LogitRow> rows) {
  std::vector<SampleRow> sample_rows;
  for (size_t i = 0; i < rows.size(); ++i) {
    const LogitRow& row = rows[i];
    SamplerSlot& slot = *slots_.at(row.slot);
    const bool processed =
        !row.in_prompt && slot.params().logprobs_mode == LogprobsMode::kProcessed;
    if (!slot.fault().empty() || !(row.draws || row.redraws || processed)) continue;
    SampleRow sample = slot.RowAt(row);
    VX_CHECK(!row.draws || sample.num_prompt + sample.num_output < limits_.max_model_len);
    sample.row = static_cast<int32_t>(i);
    sample.slot = row.draws ? row.slot : -1;  // what is drawn again goes nowhere
    sample.keeps_processed = processed;
    sample_rows.push_back(sample);
  }
  std::stable_partition(sample_rows.begin(), sample_rows.end(), IsEdited);
  return sample_rows;
}

// One query a row, which is queued with it.
std::vector<LogprobQuery> Sampler::QueriesOf(std::span<const LogitRow> rows) {
  Step& step = begun();
  std::vector<LogprobQuery> queries;
  for (size_t i = 0; i < rows.size(); ++i) {
    const LogitRow& row = rows[i];
    LogprobQuery query;
    query.row = static_cast<int32_t>(i);
    query.id = row.draws ? -1 : row.target_id;
    query.num_top = NumTop(row, slots_.at(row.slot)->params());
    query.top_offset = step.num_top;
    step.num_top += std::max(query.num_top, 0);
    step.queued.push_back({.top_offset = query.top_offset});
    queries.push_back(query);
  }
  return queries;
}

// Grows the arrays of the most likely ids; those of the step's earlier chunks move along.
Status Sampler::EnsureTops(int64_t num_top, int64_t used, Stream& stream) {
  StepArrays& device = begun().device;
  StepArrays& host = begun().host;
  const auto capacity = static_cast<int64_t>(host.top_ids.bytes() / sizeof(int32_t));
  if (num_top <= capacity) return {};
  const size_t count = std::max(num_top, 2 * capacity);
  VX_ASSIGN_OR_RETURN(Buffer ids, backend_.Allocate(count * sizeof(int32_t)));
  VX_ASSIGN_OR_RETURN(Buffer logprobs, backend_.Allocate(count * sizeof(float)));
  VX_ASSIGN_OR_RETURN(Buffer host_ids, backend_.AllocateStaging(count * sizeof(int32_t)));
  VX_ASSIGN_OR_RETURN(Buffer host_logprobs, backend_.AllocateStaging(count * sizeof(float)));
  if (used > 0) {
    backend_.Download(host_ids.data(), device.top_ids.data(), used * sizeof(int32_t), stream);
    backend_.Download(host_logprobs.data(), device.top_logprobs.data(), used * sizeof(float),
                      stream);
    backend_.Upload(ids.data(), host_ids.data(), used * sizeof(int32_t), stream);
    backend_.Upload(logprobs.data(), host_logprobs.data(), used * sizeof(float), stream);
    VX_RETURN_IF_ERROR(backend_.Synchronize(stream));
  }
  device.top_ids = std::move(ids);
  device.top_logprobs = std::move(logprobs);
  host.top_ids = std::move(host_ids);
  host.top_logprobs = std::move(host_logprobs);
  return {};
}

Status Sampler::Queue(Rows<float> logits, std::span<const LogitRow> rows, Stream& stream) {
  Step& step = begun();
  const auto first = static_cast<int64_t>(step.queued.size());
  VX_CHECK(logits.cols == limits_.vocab_size && logits.rows == static_cast<int64_t>(rows.size()));
  VX_CHECK(logits.rows <= limits_.max_chunk_rows && first + logits.rows <= limits_.max_step_rows);
  const int64_t blocks = NumVocabBlocks(limits_.vocab_size);
  const Rows<float> block_max(block_max_.as<float>(), logits.rows, blocks);
  const Rows<uint64_t> block_sums(block_sums_.as<uint64_t>(), logits.rows, blocks);
  LogitSums* const sums = step.device.sums.as<LogitSums>() + first;
  int32_t* const drawn = step.device.drawn.as<int32_t>() + first;

  VX_RETURN_IF_ERROR(PlaceSlots(rows, stream));
  const std::vector<SampleRow> sample_rows = SampleRowsOf(rows);
  const int64_t tops_before = step.num_top;
  const std::vector<LogprobQuery> queries = QueriesOf(rows);
  VX_RETURN_IF_ERROR(EnsureTops(step.num_top, tops_before, stream));
  VX_RETURN_IF_ERROR(step.arena.Reserve(queries.size() * sizeof(LogprobQuery) +
                                            sample_rows.size() * sizeof(SampleRow) +
                                            2 * UploadArena::kAlignment,
                                        stream));

  for (size_t n = 0; n < sample_rows.size(); ++n) {
    step.queued[first + sample_rows[n].row].outcome = step.num_outcomes + static_cast<int64_t>(n);
  }
  const bool all_plain = std::ranges::none_of(sample_rows, [&](const SampleRow& row) {
    return row.keeps_processed || IsChanged(row, logits.cols);
  });
  const SampleRow* const rows_address = step.arena.Add(std::span(sample_rows));
  const LogprobQuery* const query_address = step.arena.Add(std::span(queries));
  step.arena.Upload(stream);

  backend_.SumLogits(
      {.logits = logits, .sums = sums, .block_max = block_max, .block_sums = block_sums}, stream);
  VX_RETURN_IF_ERROR(
      backend_.Sample({.logits = logits,
                       .sums = sums,
                       .block_max = block_max,
                       .block_sums = block_sums,
                       .num_rows = static_cast<int64_t>(sample_rows.size()),
                       .rows = rows_address,
                       .outcomes = step.device.outcomes.as<SampleOutcome>() + step.num_outcomes,
                       .drawn = drawn,
                       .newest_tokens = newest_tokens_.as<int32_t>(),
                       .failed_owners = failed_owners_.as<int64_t>(),
                       .all_plain = all_plain,
                       .num_edited = std::ranges::count_if(sample_rows, IsEdited)},
                      stream));
  step.num_outcomes += static_cast<int64_t>(sample_rows.size());
  backend_.Logprob({.logits = logits,
                    .sums = sums,
                    .block_max = block_max,
                    .num_queries = static_cast<int64_t>(queries.size()),
                    .queries = query_address,
                    .drawn = drawn,
                    .answers = step.device.answers.as<LogprobAnswer>() + first,
                    .top_ids = step.device.top_ids.as<int32_t>(),
                    .top_logprobs = step.device.top_logprobs.as<float>()},
                   stream);
  return {};
}

void Sampler::QueueDownload(Stream& stream) {
  const Step& step = begun();
  const size_t rows = step.queued.size();
  const auto download = [&](const Buffer& to, const Buffer& from, size_t bytes) {
    if (bytes > 0) backend_.Download(to.data(), from.data(), bytes, stream);
  };
  download(step.host.sums, step.device.sums, rows * sizeof(LogitSums));
  download(step.host.outcomes, step.device.outcomes, step.num_outcomes * sizeof(SampleOutcome));
  download(step.host.answers, step.device.answers, rows * sizeof(LogprobAnswer));
  download(step.host.top_ids, step.device.top_ids, step.num_top * sizeof(int32_t));
  download(step.host.top_logprobs, step.device.top_logprobs, step.num_top * sizeof(float));
}

SequenceFault Sampler::Step::FaultOf(int64_t i, const LogitRow& row,
                                     const SamplingParams& params) const {
  const LogitSums& sums = host.sums.as<LogitSums>()[i];
  if (sums.fault_id >= 0) {
    return {LogitFault(row, sums.fault_id, sums.fault_value), FaultCause::kWeights};
  }
  if (queued[i].outcome < 0 || OutcomeOf(i).fault == SampleFault::kNone) return {};
  return {OutcomeFault(row, OutcomeOf(i), params), FaultCause::kRequest};
}

TokenLogprob Sampler::Step::Answer(int64_t i, const LogitRow& row) const {
  const LogprobAnswer& answer = host.answers.as<LogprobAnswer>()[i];
  const int32_t id = row.draws ? OutcomeOf(i).token : row.target_id;
  TokenLogprob token{id, answer.logprob, answer.rank, {}};
  token.top.reserve(answer.num_top);
  for (int32_t n = 0; n < answer.num_top; ++n) {
    const int64_t at = queued[i].top_offset + n;
    token.top.push_back({host.top_ids.as<int32_t>()[at], host.top_logprobs.as<float>()[at]});
  }
  return token;
}

void Sampler::Finish(int step_index, std::span<const LogitRow> rows,
                     std::span<const int32_t> first_faulty_rows, StepResult* result) {
  const Step& step = *steps_.at(step_index);
  VX_CHECK(rows.size() == step.queued.size());
  for (size_t n = 0; n < rows.size(); ++n) {
    const LogitRow& row = rows[n];
    const auto i = static_cast<int64_t>(n);
    if (row.token_row >= first_faulty_rows[row.sequence]) continue;
    SequenceResult& sequence = result->sequences[row.sequence];
    SamplerSlot& slot = *slots_[row.slot];
    if (sequence.fault.empty()) sequence.fault = slot.fault();
    if (sequence.fault.empty()) sequence.fault = step.FaultOf(i, row, slot.params());
    if (!sequence.fault.empty()) {
      slot.Fail(sequence.fault);
    } else if (row.draws) {
      sequence.drawn = step.Answer(i, row);
    } else {
      sequence.targets.push_back(step.Answer(i, row));
      if (row.redraws) sequence.redrawn.push_back(step.OutcomeOf(i).token);
    }
  }
}

}  // namespace vexact
