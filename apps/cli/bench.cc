#include "cli/bench.h"

namespace vexact {

void AddBench(CLI::App& app, Command& chosen) {
  CLI::App* const bench = app.add_subcommand("bench", "Benchmarks");
  bench->require_subcommand(1);
  AddBenchThroughput(*bench, chosen);
  AddBenchCompare(*bench, chosen);
}

}  // namespace vexact
