// The subcommands of `vexact`, one file each. Add... declares the flags of one; when it is chosen
// on the command line, `chosen` becomes what runs it and returns the exit status.
#ifndef VEXACT_CLI_COMMANDS_H_
#define VEXACT_CLI_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <functional>

namespace vexact {

using Command = std::function<int()>;

void AddGenerate(CLI::App& app, Command& chosen);
void AddChat(CLI::App& app, Command& chosen);
void AddScore(CLI::App& app, Command& chosen);
void AddVerify(CLI::App& app, Command& chosen);
void AddBench(CLI::App& app, Command& chosen);
void AddTokenize(CLI::App& app, Command& chosen);
void AddInspect(CLI::App& app, Command& chosen);
void AddDoctor(CLI::App& app, Command& chosen);
void AddServe(CLI::App& app, Command& chosen);

}  // namespace vexact

#endif  // VEXACT_CLI_COMMANDS_H_
