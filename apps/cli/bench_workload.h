// The requests of a benchmark: random tokens of given lengths, the lengths of a trace, a file of
// requests, or conversations.
#ifndef VEXACT_CLI_BENCH_WORKLOAD_H_
#define VEXACT_CLI_BENCH_WORKLOAD_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "common/flags.h"
#include "common/interrupt.h"
#include "request/request.h"
#include "tokenizer/tokenizer.h"

namespace vexact {

// Tokens of one request.
struct RequestLengths {
  int32_t prompt = 0;
  int32_t output = 0;
};

struct WorkloadFlags {
  int64_t num_requests = 0;  // 0: 16 random ones, or all of a file
  int32_t input_len = 128;
  std::optional<int32_t> output_len;  // none: 64 random tokens, or the file's
  std::string input;
  std::string trace;
  std::string dataset;
  int32_t warmup_requests = 2;
};
void AddWorkloadFlags(CLI::App& app, WorkloadFlags& flags);

// What requests are made with.
struct WorkloadSource {
  int32_t vocab_size = 0;
  const Tokenizer* tokenizer = nullptr;  // may be null: then there are no conversations
  int64_t seed = 0;
};
// A signal that comes while --input's writer is silent ends the process.
Result<std::vector<Request>> MakeRequests(const WorkloadFlags& flags, const WorkloadSource& source,
                                          InterruptSignals& interrupts);
// Short ones to run before the clock starts, which fit into `max_model_len` tokens.
std::vector<Request> WarmupRequests(const WorkloadFlags& flags, const WorkloadSource& source,
                                    int32_t max_model_len);

// The first `limit` rows (0: all) of a CSV text whose header names prompt_tokens, prompt_len or
// input_len, and output_tokens or output_len; other columns are passed over. Errors name file, line
// and column.
Result<std::vector<RequestLengths>> ParseTrace(std::string_view csv, const std::string& file,
                                               int64_t limit);

// Requests of random tokens in [0, vocab_size), no two alike, a function of the arguments alone.
std::vector<Request> RandomRequests(const std::vector<RequestLengths>& lengths, int32_t vocab_size,
                                    int64_t seed);

// The first `limit` (0: all) requests of a file of `vexact generate`'s lines; a wrong one is an
// error.
Result<std::vector<Request>> ReadRequests(const std::string& path, int64_t limit,
                                          InterruptSignals& interrupts);

// Requests of a ShareGPT file ([{"conversations": [{"value"}, ...]}, ...]), as other engines'
// benchmarks choose them: the conversations in an order drawn from the seed; of each the first two
// turns, prompt and output; kept if 4 <= prompt <= 1024 tokens, output >= 4 and both together <=
// 2048; the first `limit` (0: all). `output_len` stands for the outputs' lengths where it is given.
Result<std::vector<Request>> ParseShareGpt(std::string_view json, const std::string& file,
                                           const Tokenizer& tokenizer, const WorkloadFlags& flags,
                                           int64_t seed);

}  // namespace vexact

#endif  // VEXACT_CLI_BENCH_WORKLOAD_H_
