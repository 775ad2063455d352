#include "common/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace vexact {

std::string ProgressText(const ProgressCounts& counts, double elapsed_s) {
  constexpr int kWidth = 24;
  const double share =
      counts.total > 0 ? static_cast<double>(counts.done) / static_cast<double>(counts.total) : 0.0;
  const int filled = std::clamp(static_cast<int>(share * kWidth), 0, kWidth);
  std::string text = fmt::format("[{}{}] {}/{}{} requests  {:.1f} tokens/s",
                                 std::string(filled, '#'), std::string(kWidth - filled, '.'),
                                 counts.done, counts.total, counts.total_is_final ? "" : "+",
                                 elapsed_s > 0 ? counts.tokens / elapsed_s : 0.0);
  if (counts.done > 0 && counts.total_is_final) {
    const auto left = static_cast<int64_t>(elapsed_s * (1.0 - share) / share);
    text += fmt::format("  ETA {}:{:02}", left / 60, left % 60);
  }
  return text;
}

ProgressBar::ProgressBar(bool wanted) : active_(wanted && isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() { Clear(); }

void ProgressBar::Update(const ProgressCounts& counts) {
  const Clock::time_point now = Clock::now();
  if (!active_ || now - last_drawn_ < std::chrono::milliseconds(100)) return;
  last_drawn_ = now;
  drawn_ = true;
  const std::chrono::duration<double> elapsed = now - start_;
  fmt::print(stderr, "\r{}\x1b[K", ProgressText(counts, elapsed.count()));
  std::fflush(stderr);
}

void ProgressBar::Clear() {
  if (!drawn_) return;
  drawn_ = false;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
}

}  // namespace vexact
