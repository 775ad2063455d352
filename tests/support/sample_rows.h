// Sample of every implementation on rows of logits, for the tests of sampling.
#ifndef VEXACT_SUPPORT_SAMPLE_ROWS_H_
#define VEXACT_SUPPORT_SAMPLE_ROWS_H_

#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/sampling/sampling.h"
#include "support/backends.h"

namespace vexact {

struct SampleImplementation {
  std::string name;
  std::function<void(const SumLogitsArgs&, Stream&)> sum;
  std::function<void(const SampleArgs&, Stream&)> sample;
};

inline std::vector<SampleImplementation> SampleImplementations() {
  std::vector<SampleImplementation> all;  // the reference first
  for (const auto& [name, backend] : AllBackends()) {
    all.push_back({name, [backend](const SumLogitsArgs& a, Stream& s) { backend->SumLogits(a, s); },
                   [backend](const SampleArgs& a, Stream& s) {
                     const Status status = backend->Sample(a, s);
                     VX_CHECK(status.ok(), status.ok() ? "" : status.error().message);
                   }});
  }
  return all;
}

// For many thousands of calls: no device's latency.
inline SampleImplementation FastestOnTheCpu() {
  const CpuTarget target = SupportedCpuTargets().back();
  return {std::string(CpuTargetName(target)),
          [target](const SumLogitsArgs& a, Stream& s) { SumLogitsCpu(target, a, s); },
          [target](const SampleArgs& a, Stream& s) { SampleCpu(target, a, s); }};
}

// What a call of Sample leaves behind.
struct Sampled {
  std::vector<float> logits;
  std::vector<LogitSums> sums;
  std::vector<float> block_max;
  std::vector<uint64_t> block_sums;
  std::vector<SampleOutcome> outcomes;
  std::vector<int32_t> drawn;          // [rows of logits]; kNotWritten where nothing was
  std::vector<int32_t> newest_tokens;  // [kSamplerSlots]; likewise
  std::vector<int64_t> failed_owners;  // [kSamplerSlots]
};
inline constexpr int32_t kNotWritten = -7;
inline constexpr int64_t kSamplerSlots = 16;

struct SampleOptions {
  int threads = 1;
  bool all_plain = false;
  int64_t num_edited = SampleArgs().num_edited;
  std::vector<int64_t> failed_owners = {};  // before the call; empty: nobody
};

inline Sampled Sample(const SampleImplementation& implementation, std::vector<float> logits,
                      int64_t vocab, const std::vector<SampleRow>& rows,
                      const SampleOptions& options = {}) {
  ThreadPool pool = ThreadPool::Create(options.threads).value();
  Stream stream{&pool};
  const int64_t num_rows = static_cast<int64_t>(logits.size()) / vocab;
  const int64_t blocks = NumVocabBlocks(vocab);
  Sampled out{std::move(logits),
              std::vector<LogitSums>(num_rows),
              std::vector<float>(num_rows * blocks),
              std::vector<uint64_t>(num_rows * blocks),
              std::vector<SampleOutcome>(rows.size()),
              std::vector<int32_t>(num_rows, kNotWritten),
              std::vector<int32_t>(kSamplerSlots, kNotWritten),
              options.failed_owners};
  out.failed_owners.resize(kSamplerSlots);
  const Rows<float> view(out.logits.data(), num_rows, vocab);
  const Rows<float> block_max(out.block_max.data(), num_rows, blocks);
  const Rows<uint64_t> block_sums(out.block_sums.data(), num_rows, blocks);
  implementation.sum({.logits = view,
                      .has_dropped = false,
                      .sums = out.sums.data(),
                      .block_max = block_max,
                      .block_sums = block_sums},
                     stream);
  implementation.sample({.logits = view,
                         .sums = out.sums.data(),
                         .block_max = block_max,
                         .block_sums = block_sums,
                         .num_rows = static_cast<int64_t>(rows.size()),
                         .rows = rows.data(),
                         .outcomes = out.outcomes.data(),
                         .drawn = out.drawn.data(),
                         .newest_tokens = out.newest_tokens.data(),
                         .failed_owners = out.failed_owners.data(),
                         .all_plain = options.all_plain,
                         .num_edited = options.num_edited},
                        stream);
  return out;
}

inline SampleOutcome SampleOne(const SampleImplementation& implementation,
                               const std::vector<float>& logits, const SampleRow& row) {
  return Sample(implementation, logits, static_cast<int64_t>(logits.size()), {row}).outcomes[0];
}

inline std::vector<float> RandomRow(std::mt19937& random, int64_t vocab, float spread) {
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> z(vocab);
  for (float& value : z) value = normal(random);
  return z;
}

}  // namespace vexact

#endif  // VEXACT_SUPPORT_SAMPLE_ROWS_H_
