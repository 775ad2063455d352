// How a subcommand ends that could not do its work.
#ifndef VEXACT_CLI_FAIL_H_
#define VEXACT_CLI_FAIL_H_

#include "base/result.h"
#include "common/flags.h"

namespace vexact {

// Says the error on standard error; returns the exit status.
int Fail(const Error& error, int exit_status = kExitFailure);

}  // namespace vexact

#endif  // VEXACT_CLI_FAIL_H_
