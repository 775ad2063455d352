// Two engines of different modes over one copy of the weights, in turn and at once: each keeps its
// own behaviour.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "support/engine_fixture.h"
#include "support/engine_runs.h"

namespace vexact {
namespace {

using testing::HasSubstr;

class EngineModes : public EngineFixture {
 protected:
  EngineModes() : variant_model_(model_->On(BestDevice(Mode::kVariant)).value()) {}

  std::unique_ptr<Engine> MakeVariant() const {
    EngineConfig config = Config();
    config.mode = Mode::kVariant;
    config.eos_token_ids = model_->config().stop_token_ids;
    return Engine::Create(std::move(config), variant_model_, nullptr).value();
  }

  static std::vector<Request> Requests() {
    std::vector<Request> requests;
    for (int i = 0; i < 7; ++i) requests.push_back(Sampled(Prompt(9 + 31 * i, i), 12));
    return requests;
  }

  static void ExpectSameAnswers(const std::vector<std::vector<Answer>>& found,
                                const std::vector<std::vector<Answer>>& expected) {
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(Difference(found[i][0], expected[i][0]), "") << "request " << i;
    }
  }

  std::shared_ptr<const Model> variant_model_;
};

TEST_F(EngineModes, AlternatingEnginesKeepTheirOwnBehaviour) {
  const auto expected = RunAll(Make(Config()).get(), Requests());
  const auto invariant = Make(Config());
  const auto variant = MakeVariant();
  for (int turn = 0; turn < 2; ++turn) {
    for (const auto& answers : RunAll(variant.get(), Requests())) {
      EXPECT_EQ(answers[0].error, "");
      EXPECT_EQ(answers[0].token_ids.size(), 12u);
    }
    ExpectSameAnswers(RunAll(invariant.get(), Requests()), expected);
  }
  const CallCounts canonical = invariant->Stats().calls;
  EXPECT_GT(canonical.linear, 0);
  EXPECT_GT(canonical.attention, 0);
  EXPECT_EQ(canonical.free_linear, 0);
  EXPECT_EQ(canonical.free_attention, 0);
  const CallCounts free = variant->Stats().calls;
  EXPECT_GT(free.linear, 0);
  if (backend_->UsesHostMemory()) {  // a GPU's free schedules need not be faster
    EXPECT_EQ(free.free_linear, free.linear);
    EXPECT_EQ(free.free_attention, free.attention);
  }
}

TEST_F(EngineModes, ConcurrentEnginesKeepTheirOwnBehaviour) {
  const auto expected = RunAll(Make(Config()).get(), Requests());
  const auto invariant = Make(Config());
  const auto variant = MakeVariant();
  std::vector<std::vector<Answer>> free;
  std::thread beside([&] {
    for (int turn = 0; turn < 3; ++turn) free = RunAll(variant.get(), Requests());
  });
  for (int turn = 0; turn < 3; ++turn) {
    ExpectSameAnswers(RunAll(invariant.get(), Requests()), expected);
  }
  beside.join();
  ASSERT_EQ(free.size(), expected.size());
  for (const auto& answers : free) EXPECT_EQ(answers[0].error, "");
}

TEST_F(EngineModes, TheOtherAttentionKernelsAreRefusedWithoutTheirBackend) {
  EngineConfig config = Config();
  config.attn_impl = "fa-invariant-cute";
  const auto engine = Engine::Create(config, model_, nullptr);
  ASSERT_FALSE(engine.ok());
  EXPECT_THAT(
      engine.error().message,
      HasSubstr(backend_->UsesHostMemory()
                    ? "attn_impl fa-invariant-cute contradicts device cpu"
                    : "attn_impl: expected one of the kernels for which the model's backend"));
}

TEST_F(EngineModes, TheOtherAttentionKernelsHaveTheSameAnswers) {
  if (backend_->UsesHostMemory()) GTEST_SKIP() << "a GPU has them";
  const auto expected = RunAll(Make(Config()).get(), Requests());
  const auto cute = [&](Mode mode, std::string name) {
    EngineConfig config = Config();
    config.mode = mode;
    config.attn_impl = std::move(name);
    config.eos_token_ids = model_->config().stop_token_ids;
    const auto model = model_->On(BestDevice(mode, AttentionKernels::kCute)).value();
    return Engine::Create(std::move(config), model, nullptr).value();
  };
  ExpectSameAnswers(RunAll(cute(Mode::kInvariant, "fa-invariant-cute").get(), Requests()),
                    expected);
  const auto free = cute(Mode::kVariant, "fa-variant-cute");
  for (const auto& answers : RunAll(free.get(), Requests())) EXPECT_EQ(answers[0].error, "");
  EXPECT_GT(free->Stats().calls.attention, 0);
  EXPECT_EQ(free->Stats().calls.free_attention, free->Stats().calls.attention);
}

// The reason for mode invariant. On a CPU a row alone is summed otherwise than in a batch.
TEST_F(EngineModes, InModeVariantAnAnswerDependsOnTheBatch) {
  if (!backend_->UsesHostMemory()) GTEST_SKIP() << "only if a free schedule is faster there";
  const auto variant = MakeVariant();
  const auto together = RunAll(variant.get(), Requests());
  int differing = 0;
  for (size_t i = 0; i < together.size(); ++i) {
    const Answer alone = RunAlone(MakeVariant().get(), Requests()[i]);
    differing += Difference(alone, together[i][0]).empty() ? 0 : 1;
  }
  EXPECT_GT(differing, 0);
}

TEST_F(EngineModes, AnEngineIsOfItsModelsMode) {
  const auto engine = Engine::Create(Config(), variant_model_, nullptr);
  ASSERT_FALSE(engine.ok());
  EXPECT_THAT(engine.error().message, HasSubstr("mode: expected variant, for which the model's "
                                                "backend was made, found invariant"));
  const auto elsewhere = model_->On(MakeReferenceBackend());
  ASSERT_FALSE(elsewhere.ok());
  EXPECT_THAT(elsewhere.error().message, HasSubstr("found reference"));
}

}  // namespace
}  // namespace vexact
