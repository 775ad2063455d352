// Session: a loaded model behind a running engine, as the subcommands that compute use it.
#ifndef VEXACT_CLI_SESSION_H_
#define VEXACT_CLI_SESSION_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/engine_flags.h"
#include "common/interrupt.h"
#include "common/output_file.h"
#include "engine/attention_choice.h"
#include "engine/engine_front.h"
#include "engine/load_model.h"

namespace vexact {

// The program's, if Engine::Create fails: what the command line asked for and this model cannot
// have is wrong usage.
int ExitStatusOf(const Error& engine_error);

// What --device alone says of the device: nothing, unless it is "cpu".
std::optional<AttentionDevice> DeviceOf(std::string_view device_flag);
// What an open one is.
AttentionDevice DeviceOf(const Backend& backend);

class Session {
 public:
  // Loads the model and starts the engine; logs to standard error unless `quiet`. On failure says
  // why on standard error, returns null and sets the program's exit status. `interrupts` is older
  // than every thread of the session; a signal while loading ends the process.
  static std::unique_ptr<Session> Open(const EngineFlags& flags, bool quiet,
                                       InterruptSignals& interrupts, int& exit_status);

  EngineFront& front() { return *front_; }
  const ModelConfig& model_config() const { return model_.model->config(); }
  const Tokenizer* tokenizer() const { return model_.tokenizer.get(); }  // may be null
  const Result<ChatTemplate>& chat_template() const { return model_.chat_template; }

  // Ends the engine and completes the batch probe.
  Status Close();

 private:
  Session() = default;
  Status OpenProbe(const std::string& path, EngineConfig& config);

  LoadedModel model_;
  std::unique_ptr<OutputFile> probe_;  // written by the front's thread
  std::unique_ptr<EngineFront> front_;
};

}  // namespace vexact

#endif  // VEXACT_CLI_SESSION_H_
