#include "checkpoint/dummy_tensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "support/paths.h"
#include "support/temp_dir.h"

namespace vexact {
namespace {

std::string Model(const std::string& name) { return SourceDir() + "/models/" + name; }

std::vector<uint16_t> WordsOf(const Bf16Tensor& tensor) {
  size_t elements = 1;
  for (const int64_t size : tensor.shape) elements *= size;
  std::vector<uint16_t> words(elements);
  for (size_t i = 0; i < elements; ++i) words[i] = tensor.data[i].bits;
  return words;
}

std::vector<uint16_t> WordsOf(const Checkpoint& checkpoint, const std::string& name) {
  return WordsOf(checkpoint.Load(name).value());
}

// Words of a program written from dummy_tensors.h alone, in Python with hashlib and numpy.
TEST(DummyTensors, HaveTheWordsThatTheHeaderSays) {
  struct Golden {
    const char* name;
    int64_t seed;
    uint64_t key;
    DummyDistribution distribution;
    std::vector<uint16_t> first;   // elements 0 to 5
    std::vector<uint16_t> border;  // elements 65535 to 65537
  };
  const Golden goldens[] = {
      {"model.embed_tokens.weight",
       0,
       0xba8a52f65d3223de,
       {.sigma = 1.0 / 8},
       {0x3e14, 0x3e08, 0xbda3, 0xbdfa, 0x3e28, 0x3d94},
       {0xbe4d, 0xbb15, 0x3e0b}},
      {"model.layers.1.mlp.down_proj.weight",
       -5,
       0x2be1a0082b8b4095,
       {.sigma = 1.0 / std::sqrt(48.0)},
       {0x3e30, 0x3ded, 0xbe3d, 0xbda5, 0xbda7, 0x3e00},
       {0xbe47, 0xbd7f, 0x3d8f}},
      {"model.norm.weight",
       7,
       0xde6bfc50870e0c1a,
       {.mean = 1.0f, .sigma = 1.0 / 16},
       {0x3f65, 0x3f7f, 0x3f65, 0x3f89, 0x3f89, 0x3f83},
       {0x3f69, 0x3f84, 0x3f8c}},
  };
  for (const Golden& golden : goldens) {
    ASSERT_EQ(DummyKey(golden.name, golden.seed), golden.key);
    std::vector<bf16> words(65538);
    GenerateDummy(golden.key, golden.distribution, words, nullptr);
    for (size_t i = 0; i < 6; ++i) EXPECT_EQ(words[i].bits, golden.first[i]) << golden.name << i;
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(words[65535 + i].bits, golden.border[i]) << i;
  }
}

TEST(DummyTensors, DoNotDependOnThreadsOrLength) {
  const uint64_t key = DummyKey("x", 1);
  std::vector<bf16> alone(300001);
  GenerateDummy(key, {.sigma = 0.5}, alone, nullptr);
  ThreadPool pool = ThreadPool::Create(3).value();
  for (const size_t length : {size_t{1}, size_t{6}, size_t{65537}, alone.size()}) {
    std::vector<bf16> words(length);
    GenerateDummy(key, {.sigma = 0.5}, words, &pool);
    EXPECT_TRUE(std::equal(words.begin(), words.end(), alone.begin())) << length;
  }
}

TEST(DummyTensors, HaveTheMomentsOfTheirDistribution) {
  std::vector<bf16> words(1 << 20);
  GenerateDummy(DummyKey("x", 1), {.mean = 1.0f, .sigma = 1.0 / 16}, words, nullptr);
  double sum = 0.0;
  double squares = 0.0;
  for (const bf16 word : words) {
    const double deviation = FloatFromBf16(word) - 1.0;
    sum += deviation;
    squares += deviation * deviation;
  }
  const double mean = sum / static_cast<double>(words.size());
  const double sigma = std::sqrt(squares / static_cast<double>(words.size()));
  // 6 standard errors of the mean and of the square; rounding to bf16 adds (2^-8)^2 / 6 at most.
  EXPECT_NEAR(mean, 0.0, 6.0 / 16 / 1024);
  EXPECT_NEAR(sigma * 16, 1.0, 6 * 0.45 / 1024 + 0.0005);
}

TEST(DummyTensors, TheDistributionFollowsTheKindOfTensor) {
  const auto linear = DummyDistributionOf("model.layers.0.mlp.down_proj.weight", {16, 64}, 16);
  EXPECT_EQ(linear.mean, 0.0f);
  EXPECT_EQ(linear.sigma, 1.0 / 8);
  EXPECT_EQ(DummyDistributionOf("model.layers.0.self_attn.o_proj.weight", {16, 64}, 16).sigma,
            1.0 / 32);
  const auto bias = DummyDistributionOf("model.layers.0.self_attn.q_proj.bias", {64}, 16);
  EXPECT_EQ(bias.mean, 0.0f);
  EXPECT_EQ(bias.sigma, 1.0 / 4);
  EXPECT_EQ(DummyDistributionOf("model.layers.0.self_attn.q_norm.weight", {8}, 16).mean, 1.0f);
}

TEST(DummyCheckpoint, HasTheTensorsOfItsConfigInAnyOrderOfLoading) {
  for (const char* name : {"tiny-llama", "tiny-qwen2", "tiny-qwen3", "tiny-qwen3-moe"}) {
    const Checkpoint real = Checkpoint::Open(Model(name)).value();
    const TempDir folder;
    folder.Write("config.json", ReadFileOrDie(Model(name) + "/config.json"));
    ThreadPool pool = ThreadPool::Create(2).value();
    const Checkpoint one = Checkpoint::OpenDummy(folder.path(), 3, &pool).value();
    const Checkpoint other = Checkpoint::OpenDummy(folder.path(), 3, nullptr).value();
    ASSERT_EQ(one.tensors().size(), real.tensors().size());
    std::vector<std::vector<uint16_t>> words;
    for (size_t i = 0; i < real.tensors().size(); ++i) {
      EXPECT_EQ(one.tensors()[i].name, real.tensors()[i].name);
      EXPECT_EQ(one.tensors()[i].shape, real.tensors()[i].shape);
      words.push_back(WordsOf(one, one.tensors()[i].name));
    }
    for (size_t i = words.size(); i-- > 0;) {
      EXPECT_EQ(WordsOf(other, other.tensors()[i].name), words[i]);
    }
    EXPECT_NE(
        WordsOf(Checkpoint::OpenDummy(folder.path(), 4, nullptr).value(), "model.norm.weight"),
        WordsOf(one, "model.norm.weight"));
    EXPECT_TRUE(one.hf_tokenizer_files()->tokenizer_json.empty());
  }
}

TEST(DummyCheckpoint, SaysWhatIsMissing) {
  const TempDir folder;
  const auto error = [](const std::string& path) {
    return Checkpoint::OpenDummy(path, 0, nullptr).error().message;
  };
  EXPECT_NE(error(folder.path()).find("config.json"), std::string::npos);
  EXPECT_NE(error("/nowhere").find("/nowhere"), std::string::npos);
  EXPECT_EQ(error(folder.Write("m.gguf", "GGUF")),
            folder.path() +
                "/m.gguf: expected a directory, whose config.json gives the shapes of dummy "
                "weights, found a file");
  const Checkpoint checkpoint = Checkpoint::OpenDummy(Model("tiny-qwen3"), 0, nullptr).value();
  EXPECT_EQ(checkpoint.Load("lm_head.weight").error().code, ErrorCode::kNotFound);
}

TEST(DummyCheckpoint, TheConfigsOfRealModelsCountTheirParameters) {
  const std::pair<const char*, int64_t> models[] = {
      {"configs/Qwen3-1.7B", 1720574976},
      {"configs/Qwen3-30B-A3B", 30532122624},
      {"configs/SmolLM2-135M", 134515008},
  };
  for (const auto& [name, expected] : models) {
    const auto checkpoint = Checkpoint::OpenDummy(Model(name), 0, nullptr);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
    int64_t parameters = 0;
    for (const TensorInfo& tensor : checkpoint->tensors()) {
      int64_t elements = 1;
      for (const int64_t size : tensor.shape) elements *= size;
      parameters += elements;
    }
    EXPECT_EQ(parameters, expected) << name;
  }
}

}  // namespace
}  // namespace vexact
