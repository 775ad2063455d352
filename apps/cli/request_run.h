// What `generate` and `score` share: requests of one input to the engine, results in input order.
#ifndef VEXACT_CLI_REQUEST_RUN_H_
#define VEXACT_CLI_REQUEST_RUN_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "cli/session.h"
#include "common/request_json.h"
#include "common/sampling_flags.h"

namespace vexact {

struct RequestRunFlags {
  EngineFlags engine;
  SamplingFlags sampling;
  std::optional<std::string> prompt;  // one request, instead of an input
  std::string input;                  // JSON lines; "-" is standard input
  std::string output;                 // empty or "-": standard output
  std::string receipts;               // file; empty: none
  bool stream = false;
  bool digest = false;
  bool quiet = false;
};

// --output, --digest, --quiet and the engine's flags.
void AddRunFlags(CLI::App& app, RequestRunFlags& flags);

// Runs every request of the input; returns the exit status: 1 if a request failed, if reading or
// writing failed, or if a signal ended the run; every request that was read has its result line all
// the same.
int RunRequests(RequestKind kind, const RequestRunFlags& flags);

}  // namespace vexact

#endif  // VEXACT_CLI_REQUEST_RUN_H_
