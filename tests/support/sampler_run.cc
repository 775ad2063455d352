#include "support/sampler_run.h"

#include <cstring>
#include <limits>
#include <vector>

namespace vexact {

void RunSampler(const Backend& backend, Sampler* sampler, Rows<const float> logits,
                std::span<const LogitRow> rows, StepResult* result) {
  ThreadPool pool = ThreadPool::Create(2).value();
  OwnedStream owned = backend.MakeStream(&pool).value();
  const size_t row_bytes = static_cast<size_t>(logits.cols) * sizeof(float);
  const Buffer device = backend.Allocate(logits.rows * row_bytes).value();
  for (int64_t r = 0; r < logits.rows; ++r) {
    backend.Upload(device.data() + r * row_bytes, logits[r], row_bytes, owned.stream);
  }
  const int step = sampler->BeginStep();
  const Rows<float> view(device.as<float>(), logits.rows, logits.cols);
  const Status queued = sampler->Queue(view, rows, owned.stream);
  VX_CHECK(queued.ok(), queued.ok() ? "" : queued.error().message);
  sampler->QueueDownload(owned.stream);
  const Status finished = backend.Synchronize(owned.stream);
  VX_CHECK(finished.ok(), finished.ok() ? "" : finished.error().message);
  const std::vector<int32_t> no_faults(result->sequences.size(),
                                       std::numeric_limits<int32_t>::max());
  sampler->Finish(step, rows, no_faults, result);
}

int32_t NewestToken(const Backend& backend, const Sampler& sampler, int32_t slot) {
  OwnedStream owned = backend.MakeStream(nullptr).value();
  int32_t token = 0;
  backend.Download(&token, sampler.newest_tokens() + slot, sizeof(token), owned.stream);
  VX_CHECK(backend.Synchronize(owned.stream).ok());
  return token;
}

}  // namespace vexact
