// vexact serve: the engine behind HTTP (apps/server).

#include <sys/resource.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>

#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/session.h"
#include "common/flags.h"
#include "common/sampling_flags.h"
#include "server/api.h"
#include "server/http_server.h"

namespace vexact {
namespace {

struct ServeFlags {
  EngineFlags engine;
  SamplingFlags sampling;
  HttpServerOptions http;
  CallContext calls;
  std::string api_key;
  CorsPolicy cors;
  int32_t max_waiting = 1024;
  int64_t max_pending_bytes = GeneratorLimits().max_pending_bytes;
  int32_t stream_interval = GeneratorLimits().stream_interval;
  bool no_receipts = false;
  bool quiet = false;
};

constexpr const char* kFooter =
    R"(Endpoints: POST /v1/completions, /v1/chat/completions (OpenAI, with vLLM's parameters), /generate
(SGLang), /tokenize, /detokenize; GET /v1/models, /version, /health, /metrics (Prometheus).
The address goes to standard output when the server takes requests; a JSON line about each answer to
standard error, with neither prompts nor answers in it.
SIGTERM and SIGINT end it when all answers in the making have been given; a second one ends it at
once.
Exit status: 0 ended by a signal after all answers, 1 failure at run time, 2 wrong usage.)";

void AddHttpFlags(CLI::App& app, ServeFlags& flags) {
  constexpr const char* kGroup = "HTTP";
  const auto add = [&app](const std::string& name, auto& target, const std::string& help) {
    AddNumberFlag(app, name, target, help)->group(kGroup);
  };
  app.add_option("--host", flags.http.host, "address to listen on [127.0.0.1]")
      ->type_name("ADDRESS")
      ->group(kGroup);
  add("--port", flags.http.port, "0: a free one [8000]");
  app.add_option("--api-key", flags.api_key,
                 "what clients have to send as `Authorization: Bearer KEY`; /health is open [none]")
      ->envname("VEXACT_API_KEY")
      ->type_name("KEY")
      ->group(kGroup);
  app.add_option("--cors-allow-origin", flags.cors.allowed_origins,
                 "a page of this origin may use the server in a browser, as https://chat.example; "
                 "several times: several; *: any [none, and no CORS header is sent]")
      ->type_name("ORIGIN")
      ->group(kGroup);
  app.add_option("--served-model-name", flags.calls.model_name,
                 "the model's name in requests [the last part of --model]")
      ->type_name("NAME")
      ->group(kGroup);
  add("--io-threads", flags.http.num_threads, "threads that read, parse, format and write [2]");
  add("--max-connections", flags.http.max_connections, "more are closed as they come [16384]");
  add("--max-header-bytes", flags.http.max_header_bytes, "of a request [16384]");
  add("--max-body-bytes", flags.http.max_body_bytes, "of a request [16777216]");
  add("--max-waiting", flags.max_waiting,
      "samples beyond --max-num-seqs that may wait; more are refused with 429 [1024]");
  add("--max-pending-bytes", flags.max_pending_bytes,
      "of a stream whose client does not read; then it is aborted [1048576]");
  add("--stream-interval", flags.stream_interval,
      "tokens of an event of a stream; more cost less, the first comes at once [1]");
  add("--max-logprobs", flags.calls.max_logprobs, "top log-probabilities of a token at most [20]");
  add("--max-prompts", flags.calls.max_prompts, "prompts of one request at most [256]");
  app.add_flag("--no-receipts", flags.no_receipts,
               "no receipts: the weights are not read for their id at the start; variant has none")
      ->group(kGroup);
}

// "models/tiny-llama/" is tiny-llama, "x/SmolLM2.Q4_1.gguf" is SmolLM2.Q4_1.
std::string NameOfModel(const std::string& path) {
  std::filesystem::path last = std::filesystem::path(path).lexically_normal();
  if (!last.has_filename()) last = last.parent_path();
  return last.extension() == ".gguf" ? last.stem().string() : last.filename().string();
}

// An IPv6 address is in brackets in a URL.
std::string UrlHost(const std::string& host) {
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

// As many connections as the system lets this process have.
void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

Result<ApiOptions> MakeApiOptions(const ServeFlags& flags, Session& session) {
  const EngineConfig& config = session.front().config();
  ApiOptions options;
  options.calls = flags.calls;
  options.calls.tokenizer = session.tokenizer();
  options.calls.defaults = flags.sampling.Defaults(session.model_config().generation);
  if (options.calls.model_name.empty()) {
    options.calls.model_name = NameOfModel(flags.engine.model.path);
  }
  options.calls.chat_template = &session.chat_template();
  options.api_key = flags.api_key;
  options.cors = flags.cors;
  options.limits.max_open_samples = int64_t{config.max_num_seqs} + flags.max_waiting;
  options.limits.max_pending_bytes = flags.max_pending_bytes;
  options.limits.stream_interval = flags.stream_interval;
  if (!flags.quiet) {
    options.log = [](std::string_view line) { fmt::print(stderr, "{}\n", line); };
  }
  if (!flags.no_receipts && config.mode == Mode::kInvariant) {
    VX_ASSIGN_OR_RETURN(options.identity, IdentifyModel(flags.engine.model, config));
  }
  return options;
}

// Until a signal has come and every answer was given.
void ServeUntilSignal(HttpServer& server, Api& api, EngineFront& front,
                      InterruptSignals& interrupts) {
  constexpr std::chrono::milliseconds kPatience(100);
  constexpr int kRoundsBetweenStats = 5;
  for (int round = 0; !interrupts.Triggered(); ++round) {
    if (round % kRoundsBetweenStats == 0) api.SetEngineStats(front.Stats());
    std::this_thread::sleep_for(kPatience);
  }
  api.SetDraining();
  server.StopAccepting();
  while (server.num_connections() > 0) std::this_thread::sleep_for(kPatience);
}

Status CheckFlags(const ServeFlags& flags) {
  VX_RETURN_IF_ERROR(flags.sampling.Check());
  const auto check = [](std::string_view name, int64_t value, int64_t low, int64_t high) -> Status {
    if (value >= low && value <= high) return {};
    return InvalidArgument("{}: expected {} to {}, found {}", name, low, high, value);
  };
  for (const std::string& origin : flags.cors.allowed_origins) {
    if (const Status status = CheckOrigin(origin); !status.ok()) {
      return InvalidArgument("--cors-allow-origin: {}", status.error().message);
    }
  }
  constexpr int64_t kGibi = int64_t{1} << 30;
  VX_RETURN_IF_ERROR(check("--port", flags.http.port, 0, 65535));
  VX_RETURN_IF_ERROR(check("--io-threads", flags.http.num_threads, 1, 1024));
  VX_RETURN_IF_ERROR(check("--max-connections", flags.http.max_connections, 1, 1 << 20));
  VX_RETURN_IF_ERROR(check("--max-header-bytes", flags.http.max_header_bytes, 1024, 1 << 20));
  VX_RETURN_IF_ERROR(check("--max-body-bytes", flags.http.max_body_bytes, 1024, kGibi));
  VX_RETURN_IF_ERROR(check("--max-waiting", flags.max_waiting, 0, 1 << 30));
  VX_RETURN_IF_ERROR(check("--max-pending-bytes", flags.max_pending_bytes, 1024, kGibi));
  VX_RETURN_IF_ERROR(check("--stream-interval", flags.stream_interval, 1, 1024));
  VX_RETURN_IF_ERROR(check("--max-logprobs", flags.calls.max_logprobs, 0, 1 << 20));
  return check("--max-prompts", flags.calls.max_prompts, 1, 1 << 20);
}

int Run(const ServeFlags& flags) {
  if (const Status status = CheckFlags(flags); !status.ok()) {
    return Fail(status.error(), kExitUsage);
  }
  RaiseFileLimit();
  InterruptSignals interrupts;
  int exit_status = kExitSuccess;
  const auto session = Session::Open(flags.engine, flags.quiet, interrupts, exit_status);
  if (session == nullptr) return exit_status;
  Result<ApiOptions> options = MakeApiOptions(flags, *session);
  if (!options.ok()) return Fail(options.error());
  {
    Api api(std::move(options).value(), session->front());
    const auto server = HttpServer::Start(
        flags.http,
        [&api](const HttpRequest& request, const Wake& wake) { return api.Handle(request, wake); });
    if (!server.ok()) return Fail(server.error());
    fmt::print("http://{}:{}\n", UrlHost(flags.http.host), (*server)->port());
    std::fflush(stdout);
    ServeUntilSignal(**server, api, session->front(), interrupts);
  }
  const Status closed = session->Close();
  return closed.ok() ? kExitSuccess : Fail(closed.error());
}

}  // namespace

void AddServe(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<ServeFlags>();
  CLI::App* const command = app.add_subcommand("serve", "Answer requests over HTTP");
  command->footer(kFooter);
  AddHttpFlags(*command, *flags);
  command->add_flag("--quiet", flags->quiet, "no log on standard error");
  AddEngineFlags(*command, flags->engine);
  flags->sampling.AddForGenerate(*command);
  command->callback([flags, &chosen] { chosen = [flags] { return Run(*flags); }; });
}

}  // namespace vexact
