#include "engine/make_runner.h"

#include <string_view>
#include <utility>

#include "base/threads.h"
#include "engine/attention_choice.h"

namespace vexact {
namespace {

EngineLimits LimitsOf(const Model& model) {
  return {.model_max_len = model.max_positions(),
          .kv_bytes_per_token = model.KvBytesPerToken(),
          .sliding_window = model.config().sliding_window,
          .num_cores = HardwareThreads(),
          .is_gpu = !model.backend().UsesHostMemory(),
          .mode = model.backend().mode(),
          .attention_kernels = model.backend().attention_kernels(),
          .memory = model.backend().Memory()};
}

// All but the KV pool. If the pool's size follows from the device's memory, what the largest step
// takes of it has been taken once.
Result<std::unique_ptr<ModelRunner>> MakeWithoutKv(const EngineConfig& config,
                                                   const std::shared_ptr<const Model>& model) {
  VX_ASSIGN_OR_RETURN(auto runner,
                      ModelRunner::Create({.max_num_batched_tokens = config.max_num_batched_tokens,
                                           .max_num_seqs = config.max_num_seqs,
                                           .max_model_len = config.max_model_len,
                                           .block_size = config.block_size,
                                           .num_threads = config.num_threads,
                                           .mask = MaskKindOf(config.mask)},
                                          model));
  const bool measures = !model->backend().UsesHostMemory() && config.kv_cache_memory_bytes == 0;
  if (measures) VX_RETURN_IF_ERROR(runner->RunLargestStep());
  return runner;
}

// An error about memory says what to lower.
Error WithRemedy(Error error, std::string_view options) {
  if (error.code == ErrorCode::kResourceExhausted) {
    error.message += fmt::format("; lower one of {}", options);
  }
  return error;
}

}  // namespace

Result<ReadyRunner> MakeRunner(EngineConfig config, const std::shared_ptr<const Model>& model) {
  VX_ASSIGN_OR_RETURN(EngineConfig whole, ResolveConfig(std::move(config), LimitsOf(*model)));
  auto runner = MakeWithoutKv(whole, model);
  if (!runner.ok()) {
    return WithRemedy(runner.error(), "max_num_batched_tokens, max_num_seqs, max_model_len");
  }
  VX_ASSIGN_OR_RETURN(ResolvedConfig resolved, ResolveKvCache(std::move(whole), LimitsOf(*model)));
  if (const Status status = (*runner)->AllocateKv(resolved.num_blocks); !status.ok()) {
    return WithRemedy(status.error(), "kv_cache_memory_bytes, gpu_memory_utilization");
  }
  return ReadyRunner{std::move(resolved), std::move(runner).value()};
}

}  // namespace vexact
