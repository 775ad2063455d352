// vexact: the command line of the engine. Results on standard output, everything else on standard
// error; exit status 0 success, 1 failure at run time, 2 wrong usage, 3 no verdict (verify alone).

#include <CLI/CLI.hpp>
#include <exception>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/fail.h"
#include "common/flags.h"
#include "common/version.h"

namespace {

// What was wrong with a command line. CLI11 itself does not say which subcommands there are, nor
// what it found in a subcommand's place.
std::string UsageMessage(const CLI::App* app, const CLI::Error& error) {
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();  // the ones given
  if (app->get_require_subcommand_min() == 0) return CLI::FailureMessage::simple(app, error);
  std::vector<std::string> names;
  for (const CLI::App* const command : app->get_subcommands(nullptr)) {  // all there are
    names.push_back(command->get_name());
  }
  const std::vector<std::string> found = app->remaining();
  return fmt::format(
      "vexact: {}: expected one of {}, found {}\nRun with --help for more information.\n",
      app->get_parent() == nullptr ? "command" : app->get_name(), fmt::join(names, ", "),
      found.empty() ? "none" : fmt::format("\"{}\"", found.front()));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("VeXact: LLM inference with one answer in every batch, bit for bit.", "vexact");
  app.footer(
      "Exit status: 0 success, 1 failure at run time, 2 wrong usage, 3 no verdict (verify).");
  app.set_version_flag("--version", std::string(vexact::EngineVersion()));
  app.require_subcommand(1);
  app.failure_message(UsageMessage);
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
