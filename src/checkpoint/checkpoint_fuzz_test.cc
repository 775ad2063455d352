// Seeded mutations of valid files: every reader must answer with a value or an error, never crash,
// and never take much more memory than the file has bytes, whatever the file claims. Run under
// ASan and UBSan this finds reads outside the file too.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdlib>
#include <functional>
#include <new>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/expected_tensors.h"
#include "checkpoint/hf_config.h"
#include "checkpoint/safetensors.h"
#include "support/gguf_writer.h"
#include "support/paths.h"
#include "support/safetensors_writer.h"
#include "support/temp_dir.h"
#include "support/test_scale.h"

namespace {

// Heap bytes of this program now, and the most since the last reset.
std::atomic<size_t> live_bytes = 0;
std::atomic<size_t> peak_bytes = 0;

}  // namespace

void* operator new(size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  const size_t live = live_bytes += malloc_usable_size(memory);
  size_t peak = peak_bytes;
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live)) {
  }
  return memory;
}
void* operator new[](size_t size) { return operator new(size); }
void* operator new(size_t size, const std::nothrow_t& /*tag*/) noexcept {
  try {
    return operator new(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new[](size_t size, const std::nothrow_t& tag) noexcept {
  return operator new(size, tag);
}
void operator delete(void* memory) noexcept {
  if (memory != nullptr) live_bytes -= malloc_usable_size(memory);
  std::free(memory);
}
void operator delete[](void* memory) noexcept { operator delete(memory); }
void operator delete(void* memory, size_t /*size*/) noexcept { operator delete(memory); }
void operator delete[](void* memory, size_t /*size*/) noexcept { operator delete(memory); }

namespace vexact {
namespace {

// nlohmann::json spends 16 bytes and an allocation on a value of two characters, and an entry of a
// tensor list of 32 bytes becomes a TensorInfo with three strings.
constexpr size_t kBytesPerFileByte = 40;
constexpr size_t kFixedBytes = 64 << 10;

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  // A copy with 1 to 4 changes.
  std::string Mutate(std::string bytes) {
    const int changes = 1 + Below(4);
    for (int i = 0; i < changes && !bytes.empty(); ++i) Change(bytes);
    return bytes;
  }

 private:
  size_t Below(size_t end) { return random_() % end; }

  void Change(std::string& bytes) {
    const size_t at = Below(bytes.size());
    const size_t length = std::min(bytes.size() - at, Below(64));
    switch (Below(8)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << Below(8)));
        break;
      case 1:
        bytes[at] = static_cast<char>(random_());
        break;
      case 2:
        OverwriteInteger(bytes, at);
        break;
      case 3:
        bytes.resize(at);
        break;
      case 4:
        bytes.erase(at, length);
        break;
      case 5:
        bytes.insert(Below(bytes.size()), bytes.substr(at, length));
        break;
      default:
        ReplaceJsonToken(bytes, at);
        break;
    }
  }

  void OverwriteInteger(std::string& bytes, size_t at) {
    const uint64_t values[] = {
        0,         1,          bytes.size(),   bytes.size() + 1, INT32_MAX, uint64_t{1} << 32,
        INT64_MAX, UINT64_MAX, UINT64_MAX / 8, uint64_t{1} << 62};
    const std::string value = BytesOf(values[Below(std::size(values))]);
    bytes.replace(at, 8, value, 0, std::min<size_t>(Below(2) == 0 ? 4 : 8, bytes.size() - at));
  }

  // Puts a token in place of a run of digits or letters near `at`.
  void ReplaceJsonToken(std::string& bytes, size_t at) {
    static constexpr std::string_view kTokens[] = {
        "0",
        "-1",
        "1e999",
        "18446744073709551615",
        "18446744073709551616",
        "9223372036854775807",
        "null",
        "[",
        "{",
        "]",
        "}",
        "\"",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        "true",
        "1.5",
        "{\"a\":1,\"a\":2}",
        "[0,1]",
        "\\u0000",
        "\xff",
    };
    const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
    const auto begin =
        std::find_if(bytes.begin() + static_cast<ptrdiff_t>(at), bytes.end(), is_word);
    const auto end = std::find_if_not(begin, bytes.end(), is_word);
    const std::string_view token = kTokens[Below(std::size(kTokens))];
    bytes.replace(begin, end, token.begin(), token.end());
  }

  std::mt19937 random_;
};

// Counts of what the readers said, to show that the mutations reach both ends.
struct Answers {
  int accepted = 0;
  int refused = 0;
};

// Gives `cases` mutations of `valid` to `read`, which returns whether it accepted the bytes. Every
// second mutation is of the first `head_bytes` only, where formats with much data have their
// structure.
Answers Fuzz(const std::string& valid, size_t head_bytes, int cases,
             const std::function<bool(const std::string&)>& read) {
  Answers answers;
  Mutator mutator(20240607);
  EXPECT_TRUE(read(valid));
  for (int i = 0; i < cases; ++i) {
    const size_t mutable_bytes = i % 2 == 0 ? valid.size() : head_bytes;
    const std::string bytes =
        mutator.Mutate(valid.substr(0, mutable_bytes)) + valid.substr(mutable_bytes);
    const size_t before = live_bytes;
    peak_bytes = before;
    (read(bytes) ? answers.accepted : answers.refused) += 1;
    const size_t used = peak_bytes - before;
    EXPECT_LE(used, kFixedBytes + kBytesPerFileByte * bytes.size()) << "case " << i;
  }
  return answers;
}

void ExpectBothAnswers(const Answers& answers) {
  EXPECT_GT(answers.accepted, 0);
  EXPECT_GT(answers.refused, answers.accepted / 100);
}

std::span<const std::byte> AsBytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string TinyModelFile(const std::string& name) {
  return ReadFileOrDie(SourceDir() + "/models/" + name);
}

// Reads every word of every tensor, so that a sanitizer sees a view that is too long.
bool LoadAll(const Result<Checkpoint>& checkpoint) {
  if (!checkpoint.ok()) return false;
  uint32_t sum = 0;
  for (const TensorInfo& info : checkpoint->tensors()) {
    const auto tensor = checkpoint->Load(info.name);
    if (!tensor.ok()) return false;
    int64_t elements = 1;
    for (const int64_t size : info.shape) elements *= size;
    for (int64_t i = 0; i < elements; ++i) sum += tensor->data[i].bits;
  }
  return sum != 1;
}

// A model of about 6,000 bytes in a directory: 1 layer, hidden size 32.
void WriteMiniModel(const TempDir& dir) {
  nlohmann::json config = {{"model_type", "llama"},
                           {"hidden_size", 32},
                           {"num_hidden_layers", 1},
                           {"num_attention_heads", 2},
                           {"num_key_value_heads", 1},
                           {"intermediate_size", 32},
                           {"vocab_size", 16},
                           {"max_position_embeddings", 64},
                           {"rms_norm_eps", 1e-6},
                           {"eos_token_id", {2, 3}},
                           {"tie_word_embeddings", true},
                           {"bos_token_id", 1}};
  const std::string text = config.dump();
  dir.Write("config.json", text);
  std::vector<SafetensorsEntry> entries;
  const auto add = [&entries](const ExpectedTensor& expected) -> Status {
    size_t bytes = 2;
    for (const int64_t size : expected.shape) bytes *= size;
    entries.push_back({expected.name, "BF16", expected.shape, std::string(bytes, 'x')});
    return {};
  };
  ASSERT_TRUE(VisitExpectedTensors(ParseHfConfig(text, "").value(), add).ok());
  dir.Write("model.safetensors", SafetensorsBytes(entries));
}

TEST(Fuzz, HfConfig) {
  const auto read = [](const std::string& text) {
    auto config = ParseHfConfig(text, "config.json");
    return config.ok() && ParseGenerationConfig(text, "generation_config.json", *config).ok();
  };
  for (const char* file : {"tiny-llama/config.json", "tiny-qwen3-moe/config.json"}) {
    const std::string valid = TinyModelFile(file);
    ExpectBothAnswers(Fuzz(valid, valid.size(), ScaledCases(10000), read));
  }
}

TEST(Fuzz, SafetensorsIndex) {
  const auto read = [](const std::string& text) { return ParseSafetensorsIndex(text, "i").ok(); };
  const std::string valid = TinyModelFile("tiny-qwen3/model.safetensors.index.json");
  ExpectBothAnswers(Fuzz(valid, valid.size(), ScaledCases(10000), read));
}

TEST(Fuzz, Safetensors) {
  const auto read = [](const std::string& bytes) {
    const auto tensors = ParseSafetensors(AsBytes(bytes), "m");
    if (!tensors.ok()) return false;
    size_t sum = 1;
    for (const SafetensorsTensor& tensor : *tensors) {
      for (const std::byte byte : tensor.data) sum += std::to_integer<size_t>(byte);
    }
    return sum != 0;
  };
  const std::string valid = SafetensorsBytes({{"a", "BF16", {4, 3}, std::string(24, 'a')},
                                              {"b", "F32", {2, 2}, std::string(16, 'b')},
                                              {"c", "F16", {1, 2, 1}, std::string(4, 'c')}});
  ExpectBothAnswers(Fuzz(valid, 8, ScaledCases(40000), read));
}

TEST(Fuzz, SafetensorsDirectory) {
  const TempDir dir;
  WriteMiniModel(dir);
  const auto read = [&dir](const std::string& bytes) {
    dir.Write("model.safetensors", bytes);
    return LoadAll(Checkpoint::Open(dir.path()));
  };
  const std::string valid = ReadFileOrDie(dir.path() + "/model.safetensors");
  ExpectBothAnswers(Fuzz(valid, valid.rfind('}'), ScaledCases(5000), read));
}

TEST(Fuzz, GgufFile) {
  const TempDir dir;
  WriteMiniModel(dir);
  GgufWriter writer = GgufFromCheckpoint(Checkpoint::Open(dir.path()).value(), kGgufQ4_1);
  writer.SetString("tokenizer.ggml.model", "gpt2");
  writer.SetStrings("tokenizer.ggml.tokens", {"a", "b", "c", "d"});
  writer.SetStrings("tokenizer.ggml.merges", {"a b"});
  writer.SetInt32s("tokenizer.ggml.token_type", {1, 1, 3, 3});
  const auto read = [&dir](const std::string& bytes) {
    return LoadAll(Checkpoint::Open(dir.Write("m.gguf", bytes)));
  };
  const std::string valid = writer.Bytes();
  ExpectBothAnswers(Fuzz(valid, valid.rfind("output_norm.weight"), ScaledCases(10000), read));
}

}  // namespace
}  // namespace vexact
