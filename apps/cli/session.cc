#include "cli/session.h"

#include <chrono>
#include <utility>

#include "common/flags.h"
#include "kernels/backend.h"

namespace vexact {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The one check of mode, attention and mask, with what is known of the device.
Result<const AttentionImpl*> CheckAttention(const EngineConfig& config,
                                            std::optional<AttentionDevice> device) {
  return ChooseAttention(
      {.mode = config.mode, .attn_impl = config.attn_impl, .device = device, .mask = config.mask});
}

}  // namespace

int ExitStatusOf(const Error& engine_error) {
  const bool usage = engine_error.code == ErrorCode::kInvalidArgument ||
                     engine_error.code == ErrorCode::kUnsupported;
  return usage ? kExitUsage : kExitFailure;
}

std::optional<AttentionDevice> DeviceOf(std::string_view device_flag) {
  if (device_flag == "cpu") return AttentionDevice::kCpu;
  return std::nullopt;
}

AttentionDevice DeviceOf(const Backend& backend) {
  return backend.UsesHostMemory() ? AttentionDevice::kCpu : AttentionDevice::kHopper;
}

Status Session::OpenProbe(const std::string& path, EngineConfig& config) {
  if (path.empty()) return {};
  VX_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Open(path));
  probe_ = std::make_unique<OutputFile>(std::move(file));
  config.on_step = [probe = probe_.get(), next = config.on_step](const StepStats& stats) {
    probe->WriteLine(StepStatsJson(stats));
    if (next) next(stats);
  };
  return {};
}

std::unique_ptr<Session> Session::Open(const EngineFlags& flags, bool quiet,
                                       InterruptSignals& interrupts, int& exit_status) {
  const auto fail = [&exit_status](const Error& error, int status) {
    fmt::print(stderr, "vexact: {}\n", error.message);
    exit_status = status;
    return nullptr;
  };
  std::unique_ptr<Session> session(new Session);
  EngineConfig config = flags.config;
  const auto attention = CheckAttention(config, DeviceOf(flags.device));
  if (!attention.ok()) return fail(attention.error(), kExitUsage);
  if (const Status status = session->OpenProbe(flags.batch_probe, config); !status.ok()) {
    return fail(status.error(), kExitFailure);
  }
  const Clock::time_point start = Clock::now();
  ModelLoadOptions options;
  options.progress = [&interrupts](int64_t /*layers*/, int64_t /*all*/) {
    interrupts.EndProcessIfTriggered();
  };
  auto backend = MakeBackend(flags.device, config.mode, (*attention)->kernels);
  if (!backend.ok()) return fail(backend.error(), kExitFailure);
  if (const auto choice = CheckAttention(config, DeviceOf(**backend)); !choice.ok()) {
    return fail(choice.error(), kExitUsage);
  }
  Result<LoadedModel> model = LoadModel(flags.model, std::move(backend).value(), options);
  if (!model.ok()) return fail(model.error(), kExitFailure);
  session->model_ = std::move(model).value();
  config.eos_token_ids = session->model_.eos_token_ids;
  auto engine = Engine::Create(std::move(config), session->model_.model, session->model_.tokenizer);
  if (!engine.ok()) return fail(engine.error(), ExitStatusOf(engine.error()));
  auto front = EngineFront::Create(std::move(engine).value());
  if (!front.ok()) return fail(front.error(), ExitStatusOf(front.error()));
  session->front_ = std::move(front).value();
  if (!quiet) {
    const EngineConfig& resolved = session->front_->config();
    fmt::print(stderr, "{}: {} in {:.2f} s, {}, mode {}, {} threads, {:.0f} MiB of KV cache\n",
               flags.model.path, ModelFamilyName(session->model_config().family),
               SecondsSince(start), session->model_.model->backend().name(),
               ModeName(resolved.mode), resolved.num_threads,
               static_cast<double>(resolved.kv_cache_memory_bytes) / (1 << 20));
  }
  return session;
}

Status Session::Close() {
  front_.reset();
  return probe_ == nullptr ? Status() : probe_->Close();
}

}  // namespace vexact
