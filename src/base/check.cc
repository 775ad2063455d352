#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace vexact {

void CheckFailed(const char* file, int line, std::string_view condition, std::string_view detail) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %.*s %.*s\n", file, line,
               static_cast<int>(condition.size()), condition.data(),
               static_cast<int>(detail.size()), detail.data());
  std::abort();
}

}  // namespace vexact
