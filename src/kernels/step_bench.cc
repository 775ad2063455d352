// The parts of one decode step of SmolLM2-135M: sequences with 500 tokens each, one layer, and
// lm_head, as wall time: BM_Step/<target>/<sequences>/<threads>/<part>. A step is 30 layers, of
// which "layer" is all parts in the model's order, and one lm_head.
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
  Activations(int64_t rows, int64_t cols)
      : rows(rows), cols(cols), values(Gaussian(rows * cols, 1.0f)) {}
  Rows<bf16> view() { return {values.data(), rows, cols}; }
  int64_t rows;
  int64_t cols;
  std::vector<bf16> values;
};

// One layer's operators on one backend; every part may run alone.
class Layer {
 public:
  Layer(CpuTarget target, int64_t rows, int threads)
      : backend_(MakeCpuBackend(target)),
        rows_(rows),
        pool_(ThreadPool::Create(threads).value()),
        stream_{&pool_} {
    const std::pair<int64_t, int64_t> shapes[] = {{kHidden + 2 * kKvWidth, kHidden},
                                                  {kHidden, kHidden},
                                                  {2 * kIntermediate, kHidden},
                                                  {kHidden, kIntermediate},
                                                  {kVocabulary, kHidden}};
    for (const auto& [out, in] : shapes) {
      const std::vector<bf16> w = Gaussian(out * in, 0.05f);
      weights_.push_back(backend_->PackLinear(Rows<const bf16>(w.data(), out, in)).value());
    }
    std::ranges::fill(zeros_.values, bf16{});
    for (int64_t s = 0; s < rows_; ++s) {
      starts_.push_back(static_cast<int32_t>(s));
      table_starts_.push_back(static_cast<int32_t>(s * kBlocks));
      contexts_.push_back(kContext);
      positions_.push_back(kContext - 1);
      slots_.push_back(static_cast<int32_t>((s * kBlocks + kBlocks - 1) * kBlockSize + 3));
    }
    starts_.push_back(rows_);
    for (int64_t b = 0; b < rows_ * kBlocks; ++b) tables_.push_back(static_cast<int32_t>(b));
    const int64_t block_elements = 2 * kKvWidth * kBlockSize;
    pool_words_ = Gaussian(rows_ * kBlocks * block_elements, 1.0f);
    kv_ = {pool_words_.data(), rows_ * kBlocks, kBlockSize, kKvHeads, kHeadDim, block_elements};
    table_ = BuildRopeTable({.theta = 1e5, .rotary_dim = kHeadDim}, kContext);
  }

  // Answers go where nothing reads them: fed back, they would grow until they are not finite.
  void Linears() {
    Linear(0, hidden_, qkv_);
    Linear(1, hidden_, hidden_out_);
    Linear(2, hidden_, gate_up_out_);
    Linear(3, gate_, hidden_out_);
  }
  void LmHead() {
    LinearArgs args{hidden_.view(), &weights_[4]};
    args.y_fp32 = Rows<float>(logits_.data(), rows_, kVocabulary);
    backend_->Linear(args, stream_);
  }
  void Attention() {
    backend_->Attention({q_.view(), hidden_out_.view(), kHeads, kv_,
                         PagedSequences{rows_, starts_.data(), contexts_.data(),
                                        table_starts_.data(), tables_.data()}},
                        stream_);
  }
  void Rest() {
    for (int i = 0; i < 2; ++i) {
      ResidualNorm();
    }
    NormRopeWrite();
    SiluMul();
  }
  void All() {
    Linear(0, hidden_, qkv_);
    NormRopeWrite();
    Attention();
    Linear(1, hidden_, hidden_out_);
    ResidualNorm();
    Linear(2, hidden_, gate_up_out_);
    SiluMul();
    Linear(3, gate_, hidden_out_);
    ResidualNorm();
  }

 private:
  void ResidualNorm() {
    backend_->ResidualNorm({sums_.view(), zeros_.view(), norm_.data(), 1e-5f, hidden_out_.view()},
                           stream_);
  }
  void NormRopeWrite() {
    backend_->NormRopeWrite({.qkv = qkv_.view(),
                             .num_heads = kHeads,
                             .q_norm = nullptr,
                             .k_norm = nullptr,
                             .eps = 1e-5f,
                             .positions = positions_.data(),
                             .table = table_.view(),
                             .slots = slots_.data(),
                             .kv = kv_,
                             .row_faults = faults_.data()},
                            stream_);
  }
  void SiluMul() { backend_->SiluMul({gate_.view(), up_.view(), gate_out_.view()}, stream_); }
  void Linear(int index, Activations& x, Activations& y) {
    LinearArgs args{x.view(), &weights_[index]};
    args.y = y.view();
    backend_->Linear(args, stream_);
  }

  std::unique_ptr<Backend> backend_;
  int64_t rows_;
  ThreadPool pool_;
  Stream stream_;
  std::vector<LinearWeight> weights_;
  Activations hidden_{rows_, kHidden}, sums_{rows_, kHidden}, q_{rows_, kHidden};
  Activations qkv_{rows_, kHidden + 2 * kKvWidth};
  Activations gate_{rows_, kIntermediate}, up_{rows_, kIntermediate};
  Activations hidden_out_{rows_, kHidden}, gate_out_{rows_, kIntermediate};
  Activations gate_up_out_{rows_, 2 * kIntermediate};
  Activations zeros_{rows_, kHidden};  // a branch that leaves the sums as they are
  std::vector<bf16> norm_ = Gaussian(kHidden, 1.0f);
  std::vector<float> logits_ = std::vector<float>(rows_ * kVocabulary);
  std::vector<int32_t> starts_, contexts_, positions_, slots_, table_starts_, tables_;
  std::vector<uint8_t> faults_ = std::vector<uint8_t>(rows_);
  std::vector<bf16> pool_words_;
  PagedKv kv_;
  RopeTable table_;
};

[[maybe_unused]] const int kRegistered = [] {
  const std::map<std::string, void (Layer::*)()> parts = {{"linears", &Layer::Linears},
                                                          {"lm_head", &Layer::LmHead},
                                                          {"attention", &Layer::Attention},
                                                          {"rest", &Layer::Rest},
                                                          {"layer", &Layer::All}};
  for (const CpuTarget target : SupportedCpuTargets()) {
    for (const int64_t rows : {1, 64}) {
      for (const int threads : {1, 2}) {
        for (const auto& [name, part] : parts) {
          const std::string full_name = "BM_Step/" + std::string(CpuTargetName(target)) + "/" +
                                        std::to_string(rows) + "/" + std::to_string(threads) + "/" +
                                        name;
          benchmark::RegisterBenchmark(full_name.c_str(), [=](benchmark::State& state) {
            Layer layer(target, rows, threads);
            for (auto _ : state) (layer.*part)();
          })->UseRealTime();
        }
      }
    }
  }
  return 0;
}();

}  // namespace
}  // namespace vexact
