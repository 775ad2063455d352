// The parts of one decode step of SmolLM2-135M: 64 sequences with 500 tokens each, one layer, and
// lm_head. Times are of one thread: BM_Step/<target>/<part>. A step is 30 layers and one lm_head.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/backend.h"

namespace vexact {
namespace {

constexpr int64_t kRows = 64;
constexpr int64_t kContext = 500;
constexpr int64_t kHidden = 576;
constexpr int64_t kKvWidth = 192;
constexpr int64_t kHeads = 9;
constexpr int64_t kKvHeads = 3;
constexpr int64_t kHeadDim = 64;
constexpr int64_t kIntermediate = 1536;
constexpr int64_t kVocabulary = 49152;
constexpr int64_t kBlockSize = 16;
constexpr int64_t kBlocks = (kContext + kBlockSize - 1) / kBlockSize;  // of a sequence

std::vector<bf16> Gaussian(int64_t count, float sigma) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<bf16> values(count);
  for (bf16& value : values) value = Bf16FromFloat(normal(random));
  return values;
}

struct Activations {
  explicit Activations(int64_t cols) : cols(cols), values(Gaussian(kRows * cols, 1.0f)) {}
  Rows<bf16> view() { return {values.data(), kRows, cols}; }
  int64_t cols;
  std::vector<bf16> values;
};

// One layer's operators on one backend; every part may run alone.
class Layer {
 public:
  explicit Layer(CpuTarget target) : backend_(MakeCpuBackend(target)), pool_(1), stream_{&pool_} {
    const std::pair<int64_t, int64_t> shapes[] = {
        {kHidden, kHidden},       {kKvWidth, kHidden},      {kKvWidth, kHidden},
        {kHidden, kHidden},       {kIntermediate, kHidden}, {kIntermediate, kHidden},
        {kHidden, kIntermediate}, {kVocabulary, kHidden}};
    for (const auto& [out, in] : shapes) {
      const std::vector<bf16> w = Gaussian(out * in, 0.05f);
      weights_.push_back(backend_->PackLinear(Rows<const bf16>(w.data(), out, in)).value());
    }
    std::ranges::fill(zeros_.values, bf16{});
    for (int64_t s = 0; s < kRows; ++s) {
      starts_.push_back(static_cast<int32_t>(s));
      table_starts_.push_back(static_cast<int32_t>(s * kBlocks));
      contexts_.push_back(kContext);
      positions_.push_back(kContext - 1);
      slots_.push_back(static_cast<int32_t>((s * kBlocks + kBlocks - 1) * kBlockSize + 3));
    }
    starts_.push_back(kRows);
    for (int64_t b = 0; b < kRows * kBlocks; ++b) tables_.push_back(static_cast<int32_t>(b));
    const int64_t block_elements = 2 * kKvWidth * kBlockSize;
    pool_words_ = Gaussian(kRows * kBlocks * block_elements, 1.0f);
    kv_ = {pool_words_.data(), kRows * kBlocks, kBlockSize, kKvHeads, kHeadDim, block_elements};
    table_ = BuildRopeTable({.theta = 1e5, .rotary_dim = kHeadDim}, kContext);
  }

  // Answers go where nothing reads them: fed back, they would grow until they are not finite.
  void Linears() {
    Linear(0, hidden_, hidden_out_);
    Linear(1, hidden_, kv_out_);
    Linear(2, hidden_, kv_out_);
    Linear(3, hidden_, hidden_out_);
    Linear(4, hidden_, gate_out_);
    Linear(5, hidden_, gate_out_);
    Linear(6, gate_, hidden_out_);
  }
  void LmHead() {
    LinearArgs args{hidden_.view(), &weights_[7]};
    args.y_fp32 = Rows<float>(logits_.data(), kRows, kVocabulary);
    backend_->Linear(args, stream_);
  }
  void Attention() {
    backend_->Attention({q_.view(), hidden_out_.view(), kHeads, kv_,
                         PagedSequences{kRows, starts_.data(), contexts_.data(),
                                        table_starts_.data(), tables_.data()}},
                        stream_);
  }
  void Rest() {
    for (int i = 0; i < 2; ++i) {
      backend_->ResidualNorm({sums_.view(), zeros_.view(), norm_.data(), 1e-5f, hidden_out_.view()},
                             stream_);
    }
    backend_->NormRopeWrite({.qkv = qkv_.view(),
                             .num_heads = kHeads,
                             .positions = positions_.data(),
                             .table = table_.view(),
                             .slots = slots_.data(),
                             .kv = kv_,
                             .row_faults = faults_.data()},
                            stream_);
    backend_->SiluMul({gate_.view(), up_.view(), gate_out_.view()}, stream_);
  }

 private:
  void Linear(int index, Activations& x, Activations& y) {
    LinearArgs args{x.view(), &weights_[index]};
    args.y = y.view();
    backend_->Linear(args, stream_);
  }

  std::unique_ptr<Backend> backend_;
  ThreadPool pool_;
  Stream stream_;
  std::vector<LinearWeight> weights_;
  Activations hidden_{kHidden}, sums_{kHidden}, q_{kHidden}, qkv_{kHidden + 2 * kKvWidth};
  Activations gate_{kIntermediate}, up_{kIntermediate};
  Activations hidden_out_{kHidden}, kv_out_{kKvWidth}, gate_out_{kIntermediate};
  Activations zeros_{kHidden};  // a branch that leaves the sums as they are
  std::vector<bf16> norm_ = Gaussian(kHidden, 1.0f);
  std::vector<float> logits_ = std::vector<float>(kRows * kVocabulary);
  std::vector<int32_t> starts_, contexts_, positions_, slots_, table_starts_, tables_;
  std::vector<uint8_t> faults_ = std::vector<uint8_t>(kRows);
  std::vector<bf16> pool_words_;
  PagedKv kv_;
  RopeTable table_;
};

[[maybe_unused]] const int kRegistered = [] {
  const std::map<std::string, void (Layer::*)()> parts = {{"linears", &Layer::Linears},
                                                          {"lm_head", &Layer::LmHead},
                                                          {"attention", &Layer::Attention},
                                                          {"rest", &Layer::Rest}};
  for (const CpuTarget target : SupportedCpuTargets()) {
    for (const auto& [name, part] : parts) {
      const std::string full_name = "BM_Step/" + std::string(CpuTargetName(target)) + "/" + name;
      benchmark::RegisterBenchmark(full_name.c_str(), [=](benchmark::State& state) {
        Layer layer(target);
        for (auto _ : state) (layer.*part)();
      });
    }
  }
  return 0;
}();

}  // namespace
}  // namespace vexact
