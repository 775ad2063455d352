// Every sampling parameter as a command-line flag: the defaults for requests that do not say.
#ifndef VEXACT_COMMON_SAMPLING_FLAGS_H_
#define VEXACT_COMMON_SAMPLING_FLAGS_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "checkpoint/model_config.h"
#include "request/sampling_params.h"

namespace vexact {

class SamplingFlags {
 public:
  SamplingFlags() = default;
  SamplingFlags(const SamplingFlags&) = delete;  // the flags point here
  SamplingFlags& operator=(const SamplingFlags&) = delete;

  // Adds the flags that `generate` takes; they write to this object when a command line is parsed.
  void AddForGenerate(CLI::App& app);
  // Adds those that change a log-probability: what `score` takes.
  void AddForScore(CLI::App& app);

  // `params`, vLLM's neutral values unless a command has others; over them the model's own, if
  // --generation-config auto; over them the flags that were given.
  SamplingParams Defaults(const GenerationDefaults& model, SamplingParams params = {}) const;

  // Ranges that need no model; an error is wrong usage.
  Status Check() const;

 private:
  void AddProcessing(CLI::App& app);
  void AddChoosing(CLI::App& app);
  void AddOutput(CLI::App& app);
  void AddTokenLists(CLI::App& app);
  void AddReports(CLI::App& app);

  // A flag that assigns one member.
  template <typename Member>
  void AddNumber(CLI::App& app, const std::string& names, Member SamplingParams::*member,
                 const std::string& help);
  template <typename Member>
  void AddTokenIds(CLI::App& app, const std::string& names, Member SamplingParams::*member,
                   const std::string& help);
  void AddStrings(CLI::App& app, const std::string& names,
                  std::vector<std::string> SamplingParams::*member, const std::string& help);
  void AddSwitch(CLI::App& app, const std::string& names, bool SamplingParams::*member, bool value,
                 const std::string& help);

  std::vector<std::function<void(SamplingParams&)>> overrides_;  // one a flag given
  bool use_model_defaults_ = false;
};

}  // namespace vexact

#endif  // VEXACT_COMMON_SAMPLING_FLAGS_H_
