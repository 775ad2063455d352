#include "checkpoint/model_id.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/sha256.h"
#include "support/gguf_writer.h"
#include "support/paths.h"
#include "support/safetensors_writer.h"
#include "support/temp_dir.h"

namespace vexact {
namespace {

namespace fs = std::filesystem;

std::string Tiny(const std::string& name) { return SourceDir() + "/models/" + name; }

std::string IdOf(const std::string& path) {
  ThreadPool pool = ThreadPool::Create(2).value();
  return WeightsId(Checkpoint::Open(path).value(), pool).value();
}

// A copy of tiny-llama that a test may change.
class CopiedModel {
 public:
  CopiedModel() {
    for (const char* file : {"config.json", "model.safetensors"}) {
      folder_.Write(file, ReadFileOrDie(Tiny("tiny-llama") + "/" + file));
    }
  }
  const std::string& path() const { return folder_.path(); }
  std::string weights() const { return folder_.path() + "/model.safetensors"; }
  // Changes one bit of the last tensor's last word and keeps the file's inode.
  void FlipABit() const {
    std::string bytes = ReadFileOrDie(weights());
    bytes.back() ^= 1;
    std::fstream file(weights(), std::ios::in | std::ios::out | std::ios::binary);
    file << bytes;
  }

 private:
  TempDir folder_;
};

// The tree of the header, of tensors with less than 2^20 words.
TEST(WeightsId, IsTheTreeThatTheHeaderSays) {
  const Checkpoint checkpoint = Checkpoint::Open(Tiny("tiny-qwen3")).value();
  Sha256 tree;
  for (const TensorInfo& info : checkpoint.tensors()) {
    const Bf16Tensor tensor = checkpoint.Load(info.name).value();
    size_t words = 1;
    for (const int64_t size : tensor.shape) words *= size;
    ASSERT_LE(words, size_t{1} << 20);
    Sha256 piece;
    piece.Update(std::as_bytes(std::span(tensor.data, words)));
    Sha256 whole;
    whole.UpdateValue(static_cast<uint64_t>(info.name.size()));
    whole.Update(std::as_bytes(std::span<const char>(info.name)));
    whole.UpdateValue(static_cast<uint64_t>(info.shape.size()));
    for (const int64_t size : info.shape) whole.UpdateValue(static_cast<uint64_t>(size));
    whole.UpdateValue(piece.Finish());
    tree.UpdateValue(whole.Finish());
  }
  EXPECT_EQ(IdOf(Tiny("tiny-qwen3")), tree.FinishHex());
}

TEST(WeightsId, IsTheSameForEveryFormatOfTheSameWords) {
  for (const char* name : {"tiny-llama", "tiny-qwen2", "tiny-qwen3", "tiny-qwen3-moe"}) {
    const TempDir folder;
    const Checkpoint original = Checkpoint::Open(Tiny(name)).value();
    const std::string id = IdOf(Tiny(name));
    EXPECT_EQ(id.size(), 64u);
    for (const uint32_t type : {kGgufF32, kGgufBf16}) {
      EXPECT_EQ(IdOf(folder.Write("m.gguf", GgufFromCheckpoint(original, type).Bytes())), id)
          << name;
    }
  }
}

TEST(WeightsId, OfOtherWordsIsAnother) {
  const TempDir folder;
  const Checkpoint original = Checkpoint::Open(Tiny("tiny-llama")).value();
  const GgufWriter quantised = GgufFromCheckpoint(original, kGgufQ8_0);
  EXPECT_NE(IdOf(folder.Write("m.gguf", quantised.Bytes())), IdOf(Tiny("tiny-llama")));
}

TEST(WeightsId, ChangesWithABitANameAndAShape) {
  const CopiedModel model;
  const std::string id = IdOf(model.path());
  model.FlipABit();
  EXPECT_NE(IdOf(model.path()), id);
  // Two tensors of one shape under each other's names.
  const CopiedModel renamed;
  auto entries = SafetensorsEntries(ReadFileOrDie(renamed.weights()));
  std::string* names[2] = {};
  for (SafetensorsEntry& entry : entries) {
    if (entry.name == "model.layers.0.self_attn.k_proj.weight") names[0] = &entry.name;
    if (entry.name == "model.layers.0.self_attn.v_proj.weight") names[1] = &entry.name;
  }
  std::swap(*names[0], *names[1]);
  std::ofstream(renamed.weights(), std::ios::binary) << SafetensorsBytes(entries);
  EXPECT_NE(IdOf(renamed.path()), id);
}

TEST(WeightsId, OfDummyWeightsFollowsTheirSeed) {
  ThreadPool pool = ThreadPool::Create(2).value();
  const auto id = [&](int64_t seed) {
    return WeightsId(Checkpoint::OpenDummy(Tiny("tiny-qwen2"), seed, nullptr).value(), pool)
        .value();
  };
  EXPECT_EQ(id(0), id(0));
  EXPECT_NE(id(0), id(1));
}

TEST(WeightsIdCache, RemembersUntilTheFileChanges) {
  const CopiedModel model;
  const TempDir home;
  const std::string cache = home.path() + "/made/by/the/cache";
  ThreadPool pool = ThreadPool::Create(1).value();
  const auto cached = [&] {
    return CachedWeightsId(Checkpoint::Open(model.path()).value(), cache, pool).value();
  };
  const std::string id = IdOf(model.path());
  EXPECT_EQ(cached(), id);
  ASSERT_EQ(std::distance(fs::directory_iterator(cache), fs::directory_iterator()), 1);
  // What the file says is believed: the weights are not read again.
  const std::string file = fs::directory_iterator(cache)->path();
  const std::string other(64, 'a');
  std::string text = ReadFileOrDie(file);
  text.replace(text.size() - 64, 64, other);
  std::ofstream(file, std::ios::binary) << text;
  EXPECT_EQ(cached(), other);
  // Damage is not.
  std::ofstream(file, std::ios::binary) << text.substr(0, text.size() - 1);
  EXPECT_EQ(cached(), id);
  // Another time of modification, the same size and inode.
  model.FlipABit();
  fs::last_write_time(model.weights(),
                      fs::last_write_time(model.weights()) + std::chrono::seconds(2));
  EXPECT_EQ(cached(), IdOf(model.path()));
  EXPECT_NE(cached(), id);
}

TEST(WeightsIdCache, AFolderThatCannotBeWrittenCostsTimeOnly) {
  ThreadPool pool = ThreadPool::Create(1).value();
  const Checkpoint checkpoint = Checkpoint::Open(Tiny("tiny-llama")).value();
  EXPECT_EQ(CachedWeightsId(checkpoint, "/proc/none", pool).value(), IdOf(Tiny("tiny-llama")));
}

TEST(TokenizerIdOf, FollowsTheFilesAndIsEmptyWithoutThem) {
  const CopiedModel model;
  const auto id = [&] { return TokenizerId(Checkpoint::Open(model.path()).value()).value(); };
  EXPECT_EQ(id(), "");
  std::ofstream(model.path() + "/tokenizer.json") << "{}";
  const std::string bare = id();
  EXPECT_EQ(bare.size(), 64u);
  std::ofstream(model.path() + "/tokenizer_config.json") << "{}";
  const std::string with_config = id();
  EXPECT_NE(with_config, bare);
  std::ofstream(model.path() + "/tokenizer.json") << "{ }";
  EXPECT_NE(id(), with_config);
}

TEST(TokenizerIdOf, FollowsGgufsFields) {
  const TempDir folder;
  GgufWriter gguf = GgufFromCheckpoint(Checkpoint::Open(Tiny("tiny-llama")).value(), kGgufBf16);
  const auto id = [&] {
    return TokenizerId(Checkpoint::Open(folder.Write("m.gguf", gguf.Bytes())).value()).value();
  };
  const std::string before = id();
  EXPECT_EQ(before.size(), 64u);
  EXPECT_EQ(id(), before);
  gguf.SetBool("tokenizer.ggml.add_bos_token", true);
  EXPECT_NE(id(), before);
}

}  // namespace
}  // namespace vexact
