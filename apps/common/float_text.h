// Numbers as JSON text: the shortest decimal that reads back to the same bits.
#ifndef VEXACT_COMMON_FLOAT_TEXT_H_
#define VEXACT_COMMON_FLOAT_TEXT_H_

#include <string>

namespace vexact {

// Appends `value`; null for an infinity or a NaN, which JSON cannot say; -0 becomes 0
// (docs/numerics.md: results hold +0). Reading the text as fp32, or as double and rounding to fp32,
// gives the same fp32: the shortest decimal of an fp32 lies within its rounding interval, and the
// double nearest to it does too.
void AppendJsonFloat(float value, std::string& text);

// The same for a double.
void AppendJsonDouble(double value, std::string& text);

}  // namespace vexact

#endif  // VEXACT_COMMON_FLOAT_TEXT_H_
