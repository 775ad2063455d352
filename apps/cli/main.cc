// vexact: the command line of the engine. Results on standard output, everything else on standard
// error; exit status 0 success, 1 failure at run time, 2 wrong usage.

#include <CLI/CLI.hpp>
#include <exception>
#include <string>

#include "cli/commands.h"
#include "cli/fail.h"
#include "common/flags.h"
#include "common/version.h"

int main(int argc, char** argv) {
  CLI::App app("VeXact: LLM inference with one answer in every batch, bit for bit.", "vexact");
  app.footer("Exit status: 0 success, 1 failure at run time, 2 wrong usage.");
  app.set_version_flag("--version", std::string(vexact::EngineVersion()));
  app.require_subcommand(1);
  vexact::Command chosen;
  vexact::AddGenerate(app, chosen);
  vexact::AddChat(app, chosen);
  vexact::AddScore(app, chosen);
  vexact::AddVerify(app, chosen);
  vexact::AddServe(app, chosen);
  vexact::AddBench(app, chosen);
  vexact::AddTokenize(app, chosen);
  vexact::AddInspect(app, chosen);
  vexact::AddDoctor(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? vexact::kExitSuccess : vexact::kExitUsage;
  }
  try {
    return chosen();
  } catch (const std::exception& error) {  // the world's other faults come as a Result
    return vexact::Fail(
        {vexact::ErrorCode::kResourceExhausted,
         fmt::format("expected the memory that was asked for, found: {}", error.what())});
  }
}
