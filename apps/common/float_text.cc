#include "common/float_text.h"

#include <array>
#include <charconv>
#include <cmath>

#include "base/check.h"

namespace vexact {
namespace {

template <typename T>
void AppendShortest(T value, std::string& text) {
  if (!std::isfinite(value)) {
    text += "null";
    return;
  }
  if (value == 0) value = 0;  // also -0
  std::array<char, 32> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  VX_CHECK(error == std::errc());
  text.append(digits.data(), end);
}

}  // namespace

void AppendJsonFloat(float value, std::string& text) { AppendShortest(value, text); }
void AppendJsonDouble(double value, std::string& text) { AppendShortest(value, text); }

}  // namespace vexact
