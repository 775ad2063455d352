// The subcommands of `vexact bench`, one file each, as commands.h has those of `vexact`.
#ifndef VEXACT_CLI_BENCH_H_
#define VEXACT_CLI_BENCH_H_

#include "cli/commands.h"

namespace vexact {

void AddBenchThroughput(CLI::App& bench, Command& chosen);
void AddBenchCompare(CLI::App& bench, Command& chosen);

}  // namespace vexact

#endif  // VEXACT_CLI_BENCH_H_
