#include "checkpoint/dummy_tensors.h"

#include <algorithm>
#include <cmath>

#include "base/philox.h"
#include "base/sha256.h"

namespace vexact {
namespace {

constexpr size_t kChunk = size_t{1} << 16;  // elements that one thread makes at a time
constexpr double kSqrt3 = 1.7320508075688772;
constexpr double kNormSigma = 1.0 / 16;

// `first` is the index of elements[0], a multiple of 4.
void GenerateRange(uint64_t key, float mean, float scale, uint64_t first,
                   std::span<bf16> elements) {
  for (size_t i = 0; i < elements.size(); i += 4) {
    const uint64_t counter = (first + i) / 4;
    const PhiloxCounter words = Philox4x32(
        {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0}, key);
    const size_t count = std::min<size_t>(4, elements.size() - i);
    for (size_t j = 0; j < count; ++j) {
      const float deviation = static_cast<float>(static_cast<int32_t>(words[j])) * scale;
      elements[i + j] = Bf16FromFloat(mean + deviation);
    }
  }
}

}  // namespace

DummyDistribution DummyDistributionOf(std::string_view name, const std::vector<int64_t>& shape,
                                      int64_t hidden_size) {
  if (shape.size() > 1) {
    const double sigma = 1.0 / std::sqrt(static_cast<double>(shape.back()));
    return {.sigma = name.ends_with("self_attn.o_proj.weight") ? sigma / 4 : sigma};
  }
  if (name.ends_with(".bias")) return {.sigma = 1.0 / std::sqrt(static_cast<double>(hidden_size))};
  return {.mean = 1.0f, .sigma = kNormSigma};
}

uint64_t DummyKey(std::string_view name, int64_t seed) {
  Sha256 sha256;
  sha256.Update(std::as_bytes(std::span<const char>(name)));
  sha256.UpdateValue(uint8_t{0});
  sha256.UpdateValue(seed);
  const std::array<uint8_t, 32> digest = sha256.Finish();
  uint64_t key = 0;
  for (int byte = 7; byte >= 0; --byte) key = key << 8 | digest[byte];
  return key;
}

void GenerateDummy(uint64_t key, const DummyDistribution& distribution, std::span<bf16> elements,
                   ThreadPool* pool) {
  const auto scale = static_cast<float>(distribution.sigma * kSqrt3 * 0x1p-31);
  const size_t num_chunks = (elements.size() + kChunk - 1) / kChunk;
  const auto generate_chunk = [&](int64_t chunk) {
    const size_t first = static_cast<size_t>(chunk) * kChunk;
    GenerateRange(key, distribution.mean, scale, first,
                  elements.subspan(first, std::min(kChunk, elements.size() - first)));
  };
  if (pool != nullptr) {
    pool->ParallelFor(static_cast<int64_t>(num_chunks), generate_chunk);
  } else {
    for (size_t chunk = 0; chunk < num_chunks; ++chunk) {
      generate_chunk(static_cast<int64_t>(chunk));
    }
  }
}

}  // namespace vexact
