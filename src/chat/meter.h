// Meter: what one rendering may still spend. A template is a program that a stranger wrote, so
// every step, and every byte that a value or the output takes, is paid for before it is used.
#ifndef VEXACT_CHAT_METER_H_
#define VEXACT_CHAT_METER_H_

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace vexact {

// Defaults are far above what real templates need; what they bound is time and memory, whatever the
// template.
struct ChatLimits {
  int64_t max_work = 20'000'000;  // nodes visited, elements looked at, and 64-byte pieces of text
  int64_t max_value_bytes = int64_t{256} << 20;  // of all values made, also those already dropped
  int64_t max_output_bytes = int64_t{64} << 20;
};

class Meter {
 public:
  explicit Meter(const ChatLimits& limits)
      : limits_(limits), work_(limits.max_work), value_bytes_(limits.max_value_bytes) {}

  Status Work(int64_t units) {
    work_ -= units;
    if (work_ >= 0) return {};
    return MakeError(ErrorCode::kResourceExhausted, "expected at most {} units of work, found more",
                     limits_.max_work);
  }

  // Of looking through text once.
  Status TextWork(size_t bytes) { return Work(1 + static_cast<int64_t>(bytes / 64)); }

  Status ValueBytes(size_t bytes) {
    value_bytes_ -= static_cast<int64_t>(bytes);
    if (value_bytes_ >= 0) return {};
    return MakeError(ErrorCode::kResourceExhausted,
                     "expected at most {} bytes of values, found more", limits_.max_value_bytes);
  }

  const ChatLimits& limits() const { return limits_; }

 private:
  ChatLimits limits_;
  int64_t work_;
  int64_t value_bytes_;
};

}  // namespace vexact

#endif  // VEXACT_CHAT_METER_H_
