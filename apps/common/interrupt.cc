#include "common/interrupt.h"

#include <pthread.h>

#include <ctime>

namespace vexact {

InterruptSignals::InterruptSignals() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, &mask_before_);
}

InterruptSignals::~InterruptSignals() { pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr); }

bool InterruptSignals::Triggered() {
  if (triggered_ != 0) return true;
  const timespec no_wait{0, 0};
  const int signal = sigtimedwait(&signals_, nullptr, &no_wait);
  if (signal <= 0) return false;
  triggered_ = signal;
  pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
  return true;
}

void InterruptSignals::EndProcessIfTriggered() {
  if (Triggered()) std::raise(triggered_);
}

}  // namespace vexact
