// The requests of a benchmark: random tokens of given lengths, the lengths of a trace, or a file.
#ifndef VEXACT_CLI_BENCH_WORKLOAD_H_
#define VEXACT_CLI_BENCH_WORKLOAD_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "request/request.h"

namespace vexact {

// Tokens of one request.
struct RequestLengths {
  int32_t prompt = 0;
  int32_t output = 0;
};

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
Result<std::vector<Request>> ReadRequests(const std::string& path, int64_t limit);

}  // namespace vexact

#endif  // VEXACT_CLI_BENCH_WORKLOAD_H_
