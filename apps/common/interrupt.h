// InterruptSignals: SIGINT and SIGTERM as a question that a loop asks, instead of a handler.
#ifndef VEXACT_COMMON_INTERRUPT_H_
#define VEXACT_COMMON_INTERRUPT_H_

#include <csignal>

namespace vexact {

// While it lives the two signals wait to be asked about, in this thread and in threads that it
// starts; so make it before any thread. After one has been asked about, the next one ends the
// process as usual: the way out for a user who does not want to wait.
class InterruptSignals {
 public:
  InterruptSignals();
  ~InterruptSignals();
  InterruptSignals(const InterruptSignals&) = delete;
  InterruptSignals& operator=(const InterruptSignals&) = delete;

  // Whether one has come. Call from the thread that made the object.
  bool Triggered();
  // Ends the process by that signal, as if it had never waited, if one has come.
  void EndProcessIfTriggered();

 private:
  sigset_t signals_;
  sigset_t mask_before_;
  int triggered_ = 0;  // the signal that has come, or 0
};

}  // namespace vexact

#endif  // VEXACT_COMMON_INTERRUPT_H_
