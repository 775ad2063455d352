#include "sampler/sampler.h"

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

}  // namespace

// Arrays [rows] unless they say otherwise.
struct Sampler::Workspace {
  std::vector<LogitSums> sums;
  std::vector<float> block_max;      // [rows, blocks]
  std::vector<uint64_t> block_sums;  // [rows, blocks]
  std::vector<RowArrays> arrays;
  std::vector<std::string> faults;      // empty: none
  std::vector<int32_t> tokens;          // drawn or given
  std::vector<int32_t> redrawn;         // of rows that redraw
  std::vector<int64_t> query_of;        // index in queries
  std::vector<SampleRow> sample_rows;   // [rows to sample]
  std::vector<SampleOutcome> outcomes;  // [rows to sample]
  std::vector<LogprobQuery> queries;    // [rows without a fault]
  std::vector<LogprobAnswer> answers;   // [rows without a fault]
  std::vector<int32_t> top_ids;         // [sum of num_top]
  std::vector<float> top_logprobs;      // [sum of num_top]
};

Sampler::Sampler(const Backend& backend, int32_t max_num_seqs, int64_t vocab_size)
    : backend_(backend),
      vocab_size_(vocab_size),
      slots_(max_num_seqs),
      work_(std::make_unique<Workspace>()) {
  VX_CHECK(vocab_size >= 1 && vocab_size <= kMaxVocab);
}

Sampler::~Sampler() = default;

void Sampler::Start(const StartedSequence& started) {
  slots_.at(started.slot) = std::make_unique<SamplerSlot>(started, vocab_size_);
}

int32_t Sampler::NewestToken(int32_t slot) const { return slots_.at(slot)->NewestToken(); }

void Sampler::Sum(Rows<float> logits, Stream& stream) {
  const int64_t blocks = NumVocabBlocks(vocab_size_);
  work_->sums.resize(logits.rows);
  work_->block_max.resize(logits.rows * blocks);
  work_->block_sums.resize(logits.rows * blocks);
  backend_.SumLogits({.logits = logits,
                      .has_dropped = false,
                      .sums = work_->sums.data(),
                      .block_max = {work_->block_max.data(), logits.rows, blocks},
                      .block_sums = {work_->block_sums.data(), logits.rows, blocks}},
                     stream);
}

void Sampler::Sample(Rows<float> logits, std::span<const LogitRow> rows, const StepResult& result,
                     Stream& stream) {
  Workspace& work = *work_;
  work.arrays.resize(logits.rows);
  work.faults.assign(logits.rows, "");
  work.tokens.resize(logits.rows);
  work.redrawn.resize(logits.rows);
  work.sample_rows.clear();
  for (int64_t i = 0; i < logits.rows; ++i) {
    const LogitRow& row = rows[i];
    SamplerSlot& slot = *slots_.at(row.slot);
    work.tokens[i] = row.target_id;
    work.faults[i] = result.sequences.at(row.sequence).fault;
    if (work.faults[i].empty()) work.faults[i] = slot.fault();
    if (work.faults[i].empty() && work.sums[i].fault_id >= 0) {
      const int32_t id = work.sums[i].fault_id;
      work.faults[i] = LogitFault(row, id, logits[i][id]);
    }
    const bool processed =
        !row.in_prompt && slot.params().logprobs_mode == LogprobsMode::kProcessed;
    if (!work.faults[i].empty() || !(row.draws || row.redraws || processed)) continue;
    SampleRow sample = slot.RowAt(row, &work.arrays[i]);
    sample.row = static_cast<int32_t>(i);
    sample.keeps_processed = processed;
    work.sample_rows.push_back(sample);
  }
  const int64_t blocks = NumVocabBlocks(vocab_size_);
  work.outcomes.resize(work.sample_rows.size());
  backend_.Sample({.logits = logits,
                   .sums = work.sums.data(),
                   .block_max = {work.block_max.data(), logits.rows, blocks},
                   .block_sums = {work.block_sums.data(), logits.rows, blocks},
                   .num_rows = static_cast<int64_t>(work.sample_rows.size()),
                   .rows = work.sample_rows.data(),
                   .outcomes = work.outcomes.data()},
                  stream);
  for (size_t n = 0; n < work.sample_rows.size(); ++n) {
    const int32_t i = work.sample_rows[n].row;
    const SampleOutcome& outcome = work.outcomes[n];
    if (outcome.fault != SampleFault::kNone) {
      work.faults[i] = OutcomeFault(rows[i], outcome);
    } else if (rows[i].draws) {
      work.tokens[i] = outcome.token;
    } else {
      work.redrawn[i] = outcome.token;
    }
  }
}

void Sampler::Query(Rows<float> logits, std::span<const LogitRow> rows, Stream& stream) {
  Workspace& work = *work_;
  const int64_t blocks = NumVocabBlocks(vocab_size_);
  work.query_of.assign(logits.rows, -1);
  work.queries.clear();
  int64_t num_top = 0;
  for (int64_t i = 0; i < logits.rows; ++i) {
    if (!work.faults[i].empty()) continue;
    LogprobQuery query;
    query.row = static_cast<int32_t>(i);
    query.id = work.tokens[i];
    query.num_top = NumTop(rows[i], slots_[rows[i].slot]->params());
    query.top_offset = num_top;
    num_top += std::max(query.num_top, 0);
    work.query_of[i] = static_cast<int64_t>(work.queries.size());
    work.queries.push_back(query);
  }
  work.answers.resize(work.queries.size());
  work.top_ids.resize(num_top);
  work.top_logprobs.resize(num_top);
  backend_.Logprob({.logits = logits,
                    .sums = work.sums.data(),
                    .block_max = {work.block_max.data(), logits.rows, blocks},
                    .num_queries = static_cast<int64_t>(work.queries.size()),
                    .queries = work.queries.data(),
                    .answers = work.answers.data(),
                    .top_ids = work.top_ids.data(),
                    .top_logprobs = work.top_logprobs.data()},
                   stream);
}

TokenLogprob Sampler::Answer(int64_t row) const {
  const LogprobQuery& query = work_->queries[work_->query_of[row]];
  const LogprobAnswer& answer = work_->answers[work_->query_of[row]];
  TokenLogprob token{query.id, answer.logprob, answer.rank, {}};
  token.top.reserve(answer.num_top);
  for (int32_t n = 0; n < answer.num_top; ++n) {
    token.top.push_back(
        {work_->top_ids[query.top_offset + n], work_->top_logprobs[query.top_offset + n]});
  }
  return token;
}

void Sampler::Run(Rows<float> logits, std::span<const LogitRow> rows, StepResult* result,
                  Stream& stream) {
  VX_CHECK(logits.cols == vocab_size_ && logits.rows == static_cast<int64_t>(rows.size()));
  Sum(logits, stream);
  Sample(logits, rows, *result, stream);
  Query(logits, rows, stream);
  for (int64_t i = 0; i < logits.rows; ++i) {
    SequenceResult& sequence = result->sequences[rows[i].sequence];
    SamplerSlot& slot = *slots_[rows[i].slot];
    if (sequence.fault.empty()) sequence.fault = work_->faults[i];
    if (!sequence.fault.empty()) {
      slot.Fail(sequence.fault);
    } else if (rows[i].draws) {
      sequence.drawn = Answer(i);
      slot.Append(sequence.drawn.token_id);
    } else {
      sequence.targets.push_back(Answer(i));
      if (rows[i].redraws) sequence.redrawn.push_back(work_->redrawn[i]);
    }
  }
}

}  // namespace vexact
