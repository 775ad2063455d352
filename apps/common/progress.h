// A progress line on standard error: requests done, tokens a second, time left. Silent unless
// standard error is a terminal.
#ifndef VEXACT_COMMON_PROGRESS_H_
#define VEXACT_COMMON_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace vexact {

struct ProgressCounts {
  int64_t done = 0;    // requests
  int64_t total = 0;   // requests known so far
  int64_t tokens = 0;  // output tokens so far
  bool total_is_final = true;
};

// "[#####.....] 12/24 requests  83.1 tokens/s  ETA 0:14"
std::string ProgressText(const ProgressCounts& counts, double elapsed_s);

// Not thread-safe.
class ProgressBar {
 public:
  // Draws only if `wanted` and standard error is a terminal.
  explicit ProgressBar(bool wanted);
  ~ProgressBar();  // removes the bar
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // Redraws at most ten times a second.
  void Update(const ProgressCounts& counts);
  // Removes the bar, so that other lines can be written; the next Update draws it again.
  void Clear();

 private:
  using Clock = std::chrono::steady_clock;
  const bool active_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point last_drawn_{};
  bool drawn_ = false;
};

}  // namespace vexact

#endif  // VEXACT_COMMON_PROGRESS_H_
