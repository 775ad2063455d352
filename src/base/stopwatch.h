// Stopwatch: milliseconds of the host's clock since it was made.
#ifndef VEXACT_BASE_STOPWATCH_H_
#define VEXACT_BASE_STOPWATCH_H_

#include <chrono>

namespace vexact {

class Stopwatch {
 public:
  double milliseconds() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_)
        .count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace vexact

#endif  // VEXACT_BASE_STOPWATCH_H_
