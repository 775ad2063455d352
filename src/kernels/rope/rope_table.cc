#include <cmath>
#include <numbers>

#include "base/check.h"
#include "base/float_environment.h"
#include "kernels/rope/rope.h"

namespace vexact {
namespace {

// The fp32 word that Hugging Face's buffer `inv_freq` holds for pair i.
float InverseFrequency(const RopeConfig& config, int64_t i) {
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.rotary_dim);
  const auto power = static_cast<float>(std::pow(config.theta, static_cast<double>(exponent)));
  const float plain = 1.0f / power;
  const double inv = plain;
  if (config.scaling == RopeScaling::kNone) return plain;
  if (config.scaling == RopeScaling::kLinear) return static_cast<float>(inv / config.factor);

  // llama3: long wavelengths are stretched, short ones kept, those between are mixed.
  const double old_length = config.original_max_position_embeddings;
  const double wavelength = 2.0 * std::numbers::pi / inv;
  if (wavelength > old_length / config.low_freq_factor) {
    return static_cast<float>(inv / config.factor);
  }
  if (wavelength < old_length / config.high_freq_factor) return plain;
  const double s = (old_length / wavelength - config.low_freq_factor) /
                   (config.high_freq_factor - config.low_freq_factor);
  return static_cast<float>((1.0 - s) * inv / config.factor + s * inv);
}

}  // namespace

RopeTable BuildRopeTable(const RopeConfig& config, int64_t max_positions) {
  VX_CHECK(config.rotary_dim > 0 && config.rotary_dim % 2 == 0, "rotary_dim even");
  const ScopedFloatEnvironment environment;
  RopeTable table;
  table.max_positions = max_positions;
  table.half = config.rotary_dim / 2;
  table.cos.resize(static_cast<size_t>(max_positions * table.half));
  table.sin.resize(table.cos.size());
  for (int64_t i = 0; i < table.half; ++i) {
    const float inv_freq = InverseFrequency(config, i);
    for (int64_t position = 0; position < max_positions; ++position) {
      const double angle = static_cast<float>(position) * inv_freq;  // one fp32 product
      const auto index = static_cast<size_t>(position * table.half + i);
      table.cos[index] = Bf16FromFloat(static_cast<float>(std::cos(angle)));
      table.sin[index] = Bf16FromFloat(static_cast<float>(std::sin(angle)));
    }
  }
  return table;
}

}  // namespace vexact
