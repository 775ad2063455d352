#include "cli/fail.h"

#include <cstdio>

namespace vexact {

int Fail(const Error& error, int exit_status) {
  fmt::print(stderr, "vexact: {}\n", error.message);
  return exit_status;
}

}  // namespace vexact
