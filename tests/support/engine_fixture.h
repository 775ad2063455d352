// A tiny model, engines of it and requests for it.
#ifndef VEXACT_SUPPORT_ENGINE_FIXTURE_H_
#define VEXACT_SUPPORT_ENGINE_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "support/backends.h"
#include "support/random_model.h"

namespace vexact {

class EngineFixture : public testing::Test {
 protected:
  static constexpr int32_t kNanToken = 7;
  static constexpr int64_t kSeed = 11;

  static RandomModelSpec ModelSpec() { return {.nan_token = kNanToken}; }

  EngineFixture()
      : backend_(BestDevice()),
        checkpoint_(MakeRandomCheckpoint(ModelSpec())),
        model_(LoadModelOf(checkpoint_, backend_)) {}

  static EngineConfig Config() {
    EngineConfig config;
    config.num_threads = 2;
    config.kv_cache_memory_bytes = 1 << 20;
    return config;
  }

  std::unique_ptr<Engine> Make(EngineConfig config) const {
    config.eos_token_ids = model_->config().stop_token_ids;
    return Engine::Create(std::move(config), model_, nullptr).value();
  }

  // Ids that avoid the NaN token and the end.
  static std::vector<int32_t> Prompt(int32_t length, int32_t salt = 0) {
    std::vector<int32_t> ids(length);
    for (int32_t i = 0; i < length; ++i) ids[i] = 10 + (i * 37 + salt * 13 + i * i) % 80;
    return ids;
  }

  static Request Sampled(std::vector<int32_t> prompt, int32_t max_tokens) {
    Request request;
    request.prompt_token_ids = std::move(prompt);
    request.sampling.max_tokens = max_tokens;
    request.sampling.seed = kSeed;
    request.sampling.logprobs = 2;
    request.sampling.ignore_eos = true;
    request.sampling.logit_bias = {{kNanToken, -100.0}};
    return request;
  }

  std::shared_ptr<const Backend> backend_;
  Checkpoint checkpoint_;
  std::shared_ptr<const Model> model_;
};

}  // namespace vexact

#endif  // VEXACT_SUPPORT_ENGINE_FIXTURE_H_
