// Threads of the program's own, where the system may refuse one.
#ifndef VEXACT_BASE_THREADS_H_
#define VEXACT_BASE_THREADS_H_

#include <algorithm>
#include <system_error>
#include <thread>
#include <utility>

#include "base/result.h"

namespace vexact {

// Threads that the machine runs at once; 1 where it does not say.
inline int HardwareThreads() {
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// A thread that runs `main`. kIo: the system refused it, for limits of the process or of memory;
// the message names `whose` it was. (std::thread throws then.)
template <typename Main>
Result<std::thread> StartThread(const char* whose, Main&& main) {
  try {
    return std::thread(std::forward<Main>(main));
  } catch (const std::system_error& error) {
    return MakeError(ErrorCode::kIo, "{}: expected a thread to start, found: {}", whose,
                     error.code().message());
  }
}

}  // namespace vexact

#endif  // VEXACT_BASE_THREADS_H_
