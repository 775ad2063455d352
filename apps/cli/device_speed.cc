#include "cli/device_speed.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <vector>

namespace vexact {
namespace {

constexpr double kSeconds = 0.5;     // of one measurement, about
constexpr int64_t kFeatures = 4096;  // of the linear

// The seconds of one call, by as many as fill kSeconds. The first is left out.
Result<double> SecondsOfACall(const Backend& backend, Stream& stream, FunctionRef<void()> call) {
  using Clock = std::chrono::steady_clock;
  call();
  VX_RETURN_IF_ERROR(backend.Synchronize(stream));
  double seconds = 0.0;
  for (int64_t calls = 1;; calls *= 4) {
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < calls; ++i) call();
    VX_RETURN_IF_ERROR(backend.Synchronize(stream));
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (seconds * 4 > kSeconds) return seconds / static_cast<double>(calls);
  }
}

}  // namespace

Result<DeviceSpeed> MeasureDevice(const Backend& backend, ThreadPool& pool) {
  // On a GPU far above the L2 cache (50 MB) and rows enough to fill all multiprocessors.
  const int64_t rows = backend.UsesHostMemory() ? 64 : 4096;
  const int64_t copy_rows = backend.UsesHostMemory() ? 8192 : 65536;
  const auto copy_bytes = static_cast<size_t>(copy_rows * kFeatures) * sizeof(bf16);
  VX_ASSIGN_OR_RETURN(OwnedStream owned, backend.MakeStream(&pool));
  Stream& stream = owned.stream;
  VX_ASSIGN_OR_RETURN(const Buffer a, backend.Allocate(copy_bytes));
  VX_ASSIGN_OR_RETURN(const Buffer y, backend.Allocate(copy_bytes));
  const Rows<bf16> all(y.as<bf16>(), copy_rows, kFeatures);
  std::vector<int32_t> order(static_cast<size_t>(copy_rows));
  std::iota(order.begin(), order.end(), 0);
  VX_ASSIGN_OR_RETURN(const Buffer ids, backend.Allocate(order.size() * sizeof(int32_t)));
  backend.Upload(ids.data(), order.data(), ids.bytes(), stream);
  const EmbeddingArgs copy{
      .table = {a.as<bf16>(), copy_rows, kFeatures}, .ids = ids.as<int32_t>(), .y = all};
  DeviceSpeed speed{.matrix_rows = rows};
  VX_ASSIGN_OR_RETURN(const double copy_s,
                      SecondsOfACall(backend, stream, [&] { backend.Embedding(copy, stream); }));
  speed.bandwidth = 2.0 * static_cast<double>(copy_bytes) / copy_s;

  const LinearProblem problem{.out_features = kFeatures, .in_features = kFeatures};
  VX_RETURN_IF_ERROR(backend.PrepareLinear({&problem, 1}, {&rows, 1}));
  std::vector<bf16> words(static_cast<size_t>(kFeatures * kFeatures));
  for (size_t i = 0; i < words.size(); ++i) {  // +-1 to +-2: power drawn depends on the values
    words[i].bits = static_cast<uint16_t>(0x3f80 | (i * 0x9e3779b1u >> 16 & 0x807f));
  }
  VX_ASSIGN_OR_RETURN(const LinearWeight weight,
                      backend.PackLinear(Rows<const bf16>(words.data(), kFeatures, kFeatures)));
  backend.Upload(a.data(), words.data(), std::min(copy_bytes, words.size() * sizeof(bf16)), stream);
  const LinearArgs linear{
      .x = {a.as<bf16>(), rows, kFeatures}, .weight = &weight, .y = all.Slice(0, rows)};
  VX_ASSIGN_OR_RETURN(const double linear_s,
                      SecondsOfACall(backend, stream, [&] { backend.Linear(linear, stream); }));
  speed.matrix_rate = static_cast<double>(rows * kFeatures * kFeatures) / linear_s;
  return speed;
}

}  // namespace vexact
