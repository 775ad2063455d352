// `vexact` on a tiny model, as the tests of the command line use it.
#ifndef VEXACT_SUPPORT_CLI_H_
#define VEXACT_SUPPORT_CLI_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/program.h"

namespace vexact {

std::string VexactPath();

// models/tiny-llama with a tokenizer beside it: id 0 is <|unk|>, 1 <|bos|>, 2 <|eos|>, 3 to 258 are
// the bytes 0 to 255; what the model may draw above that is no token. Its chat template writes
// "<|bos|>", then "u:" and the content and ";" for a message of the user, and so on, then "a:" and
// the variable `mark`. Made once, kept to the end.
const std::string& TinyModel();

// Runs `vexact` to its end.
ProgramResult Vexact(const std::vector<std::string>& arguments, const std::string& input = "");

// Runs `vexact COMMAND --model TinyModel() --input - FLAGS...`.
ProgramResult RunRequests(const std::string& command, const std::string& requests,
                          const std::vector<std::string>& flags = {});

// The same; the test fails if the exit status is not 0.
std::vector<nlohmann::json> Answers(const std::string& command, const std::string& requests,
                                    const std::vector<std::string>& flags = {});

std::vector<nlohmann::json> JsonLines(const std::string& text);

}  // namespace vexact

#endif  // VEXACT_SUPPORT_CLI_H_
