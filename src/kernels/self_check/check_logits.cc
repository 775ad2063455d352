#include "kernels/self_check/check_logits.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/self_check/self_check.h"

namespace vexact {
namespace {

// Logits and their sums, on the backend.
struct SummedLogits {
  Rows<float> logits;
  LogitSums* sums;
  Rows<float> block_max;
  Rows<uint64_t> block_sums;
};

SumLogitsArgs ArgsOf(const SummedLogits& summed, bool has_dropped) {
  return {.logits = summed.logits,
          .has_dropped = has_dropped,
          .sums = summed.sums,
          .block_max = summed.block_max,
          .block_sums = summed.block_sums};
}

SummedLogits Sum(OperatorCall& call, const CheckedLogits& shape) {
  const int64_t rows = shape.end - shape.begin;
  const int64_t blocks = NumVocabBlocks(shape.vocab);
  SummedLogits summed{
      .logits = {call.In(MakeLogits(shape, *call.stream().pool)), rows, shape.vocab},
      .sums = call.Scratch<LogitSums>(rows),
      .block_max = {call.Scratch<float>(rows * blocks), rows, blocks},
      .block_sums = {call.Scratch<uint64_t>(rows * blocks), rows, blocks}};
  call.backend().SumLogits(ArgsOf(summed, shape.has_dropped), call.stream());
  return summed;
}

// Row 1 has a NaN, row 2 an infinity, row 3 a value that is too large.
Status RunFaults(OperatorCall& call) {
  const CheckedLogits shape{0, 5, 1000};
  auto logits = MakeLogits(shape, *call.stream().pool);
  logits[1000 + 700] = std::numeric_limits<float>::quiet_NaN();
  logits[2000 + 3] = kDropped;
  logits[2000 + 999] = -kDropped;
  logits[3000 + 128] = -kLogitLimit;
  const int64_t blocks = NumVocabBlocks(shape.vocab);
  call.backend().SumLogits({.logits = {call.In(std::move(logits)), 5, shape.vocab},
                            .has_dropped = false,
                            .sums = call.Out<LogitSums>("sums", 5, 1).data,
                            .block_max = {call.Scratch<float>(5 * blocks), 5, blocks},
                            .block_sums = {call.Scratch<uint64_t>(5 * blocks), 5, blocks}},
                           call.stream());
  return {};
}

// The parameters of row `row`: each filter and penalty alone, then together.
SampleRow SampleRowOf(OperatorCall& call, int64_t row, int64_t vocab) {
  SampleRow sample;
  sample.seed = 0x123456789abcdefULL * static_cast<uint64_t>(row + 1);
  sample.position = CheckWord(52, row, 0) % 4096;
  sample.sample_index = static_cast<uint32_t>(row % 3);
  const auto id = [&](int64_t n) {  // different ones for n < vocab
    return static_cast<int32_t>((CheckWord(53, row, 0) + n) % vocab);
  };
  const int64_t kind = row % 16;
  sample.inverse_temperature = kind == 15 ? 100.0f : kind % 2 == 0 ? 1.0f : 1.25f;
  if (kind == 1 || kind == 13) sample.top_k = 50;
  if (kind == 2) sample.top_k = 1;
  if (kind == 3 || kind == 13) sample.top_p = 0xf3333333;
  if (kind == 4) sample.top_p = 0x4ccccccd;
  if (kind == 5 || kind == 13) sample.log_min_p = -2.9957323f;
  if (kind == 6) sample.greedy = true;
  if (kind == 7) sample.top_k = 2000;
  if (kind == 8 || kind == 14) {
    std::vector<uint32_t> allowed(static_cast<size_t>((vocab + 31) / 32), 0x80408021u);
    if (vocab % 32 != 0) allowed.back() &= (1u << (vocab % 32)) - 1;
    sample.allowed = call.In(std::move(allowed));
  }
  if (kind == 9 || kind == 14) {
    std::vector<int32_t> banned;
    const auto count = static_cast<int32_t>(std::min<int64_t>(vocab / 4, 40));
    banned.reserve(count);
    for (int32_t n = 0; n < count; ++n) banned.push_back(id(n));
    sample.banned = call.In(std::move(banned));
    sample.num_banned = count;
  }
  if (kind == 10 || kind == 14) {
    const auto count = static_cast<int32_t>(std::min<int64_t>(vocab, 5));
    std::vector<TokenBias> bias;
    bias.reserve(count);
    for (int32_t n = 0; n < count; ++n) bias.push_back({id(n + 1), 2.5f - static_cast<float>(n)});
    sample.bias = call.In(std::move(bias));
    sample.num_bias = count;
  }
  if (kind == 11 || kind == 14) {
    // A third in the prompt alone, the others once and twice in the output.
    const auto count = static_cast<int32_t>(std::min<int64_t>(vocab, 300) / 2);
    std::vector<int32_t> tokens;
    for (int32_t n = 0; n < count; n += 3) tokens.push_back(id(n + 7));
    sample.num_prompt = static_cast<int32_t>(tokens.size());
    for (int32_t n = 0; n < count; ++n) tokens.insert(tokens.end(), n % 3, id(n + 7));
    sample.num_output = static_cast<int32_t>(tokens.size()) - sample.num_prompt;
    tokens.push_back(0);  // room for the drawn one
    sample.tokens = call.In(std::move(tokens));
    sample.repetition = 1.3f;
    sample.frequency = 0.2f;
    sample.presence = -0.5f;
  }
  sample.draws = kind != 12;
  sample.keeps_processed = kind >= 12 && kind <= 14;
  return sample;
}

}  // namespace

std::vector<float> MakeLogits(const CheckedLogits& shape, ThreadPool& pool) {
  auto logits =
      MakeRows<float>({50, CheckValues::kUniform, 9.0f}, shape.begin, shape.end, shape.vocab, pool);
  pool.ParallelFor(shape.end - shape.begin, [&](int64_t r) {
    float* const row = logits.data() + r * shape.vocab;
    const int64_t number = shape.begin + r;
    for (int64_t i = 0; i < shape.vocab; ++i) {
      if (number % 4 == 1) row[i] = std::floor(row[i] * 2.0f) * 0.5f;
      if (shape.has_dropped && (i % 4 != 1 || i / 128 % 3 == 1)) row[i] = kDropped;
    }
    if (number % 4 == 3) row[CheckWord(51, number, 0) % shape.vocab] = 21.0f;
  });
  return logits;
}

Status RunCheckedSums(OperatorCall& call, const CheckedLogits& shape) {
  const int64_t rows = shape.end - shape.begin;
  const int64_t blocks = NumVocabBlocks(shape.vocab);
  const SummedLogits summed{
      .logits = {call.In(MakeLogits(shape, *call.stream().pool)), rows, shape.vocab},
      .sums = call.Out<LogitSums>("sums", rows, 1).data,
      .block_max = call.Out<float>("block_max", rows, blocks),
      .block_sums = call.Out<uint64_t>("block_sums", rows, blocks)};
  call.backend().SumLogits(ArgsOf(summed, shape.has_dropped), call.stream());
  return {};
}

Status RunCheckedLogprobs(OperatorCall& call, const CheckedLogits& shape) {
  constexpr int64_t kQueries = 4;  // of a row
  constexpr int64_t kTop = 20;     // of a query
  const SummedLogits summed = Sum(call, shape);
  const int64_t rows = shape.end - shape.begin;
  std::vector<LogprobQuery> queries;
  std::vector<int32_t> drawn;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t number = shape.begin + r;
    drawn.push_back(static_cast<int32_t>(CheckWord(54, number, 3) % shape.vocab));
    for (int64_t q = 0; q < kQueries; ++q) {
      const auto id = static_cast<int32_t>(CheckWord(54, number, q) % shape.vocab);
      const auto num_top = static_cast<int32_t>(std::min<int64_t>(shape.vocab, q * 6 + 2));
      queries.push_back({.row = static_cast<int32_t>(r),
                         .id = q == 3 ? -1 : id,
                         .num_top = q == 1 ? -1 : num_top,
                         .top_offset = (r * kQueries + q) * kTop});
    }
  }
  // Places that no answer needs keep their zeros.
  const std::vector<int32_t> no_ids(static_cast<size_t>(rows * kQueries * kTop));
  const std::vector<float> no_logprobs(no_ids.size());
  const Rows<LogprobAnswer> answers = call.Out<LogprobAnswer>("answers", rows, kQueries);
  const Rows<int32_t> ids =
      call.Out<int32_t>("top_ids", rows, kQueries * kTop, kQueries * kTop, no_ids);
  const Rows<float> logprobs =
      call.Out<float>("top_logprobs", rows, kQueries * kTop, kQueries * kTop, no_logprobs);
  call.backend().Logprob({.logits = summed.logits,
                          .sums = summed.sums,
                          .block_max = summed.block_max,
                          .num_queries = rows * kQueries,
                          .queries = call.In(std::move(queries)),
                          .drawn = call.In(std::move(drawn)),
                          .answers = answers.data,
                          .top_ids = ids.data,
                          .top_logprobs = logprobs.data},
                         call.stream());
  return {};
}

Status RunCheckedSamples(OperatorCall& call, const CheckedLogits& shape) {
  const int64_t rows = shape.end - shape.begin;
  const int64_t blocks = NumVocabBlocks(shape.vocab);
  const SummedLogits summed{
      .logits = call.Out<float>("logits", rows, shape.vocab, shape.vocab,
                                MakeLogits(shape, *call.stream().pool)),
      .sums =
          call.Out<LogitSums>("sums", rows, 1, 1, std::vector<LogitSums>(static_cast<size_t>(rows)))
              .data,
      .block_max = {call.Scratch<float>(rows * blocks), rows, blocks},
      .block_sums = {call.Scratch<uint64_t>(rows * blocks), rows, blocks}};
  std::vector<SampleRow> samples;
  for (int64_t r = 0; r < rows; ++r) {
    samples.push_back(SampleRowOf(call, shape.begin + r, shape.vocab));
    samples.back().row = static_cast<int32_t>(r);
    samples.back().slot = static_cast<int32_t>(rows - 1 - r);
  }
  std::vector<int32_t> none(static_cast<size_t>(rows), -7);
  call.backend().SumLogits(ArgsOf(summed, false), call.stream());
  return call.backend().Sample({.logits = summed.logits,
                                .sums = summed.sums,
                                .block_max = summed.block_max,
                                .block_sums = summed.block_sums,
                                .num_rows = rows,
                                .rows = call.In(std::move(samples)),
                                .outcomes = call.Out<SampleOutcome>("outcomes", rows, 1).data,
                                .drawn = call.Out<int32_t>("drawn", rows, 1).data,
                                .newest_tokens = call.In(std::move(none))},
                               call.stream());
}

void AddLogitChecks(std::vector<SelfCheckCase>& cases) {
  const std::pair<CheckedLogits, bool> shapes[] = {
      {{0, 4, 1}, true},      {{0, 4, 127}, true},     {{0, 16, 128}, true},
      {{0, 16, 129}, true},   {{0, 17, 1000}, true},   {{0, 16, 49152}, true},
      {{0, 4, 151936}, true}, {{0, 64, 151936}, false}};
  const auto add = [&](const char* op, const auto& run) {
    for (const auto& [logits, in_short] : shapes) {
      cases.push_back({op, fmt::format("{} x {}", logits.end, logits.vocab), in_short,
                       [run, logits = logits](OperatorCall& call) { return run(call, logits); }});
    }
  };
  add("sum_logits", RunCheckedSums);
  cases.push_back({"sum_logits", "5 x 1000 with dropped ids", true, [](OperatorCall& call) {
                     return RunCheckedSums(call, {0, 5, 1000, true});
                   }});
  cases.push_back({"sum_logits", "5 x 1000, three with faults", true, RunFaults});
  add("logprob", RunCheckedLogprobs);
  cases.push_back({"logprob", "5 x 1000 with dropped ids", true, [](OperatorCall& call) {
                     return RunCheckedLogprobs(call, {0, 5, 1000, true});
                   }});
  add("sample", RunCheckedSamples);
}

}  // namespace vexact
