// Times and bits of every linear schedule on one Hopper GPU, on the layers of Qwen3-1.7B: a program
// of its own, so that it can be carried to a machine that has a GPU and nothing else of ours.
//
//   scripts/build cuda vexact_gpu_benches
//   build/cuda/linear_sm90_bench [times | words] [path of libcublasLt.so.13]
//
// `words` compares every word of every schedule at many numbers of rows with the chain kernel's,
// for SmolLM2's layers too, on the device; it fails if a schedule that the engine would run has
// other words, or if fewer than 10^9 were compared. An algorithm of the library with other words is
// one that the engine's proof refuses, on these same inputs: it is named, and its words do not
// count.
//
// Columns of `times`: the floor (4.8 TB/s of weights, or 790 TFLOP/s), the best of cuBLASLt without
// a split of K and with the canonical bits, the best of cuBLASLt whatever its bits (`any`), then
// each kernel of ours; microseconds a call in a graph of calls whose weights are not in the L2
// cache. A kernel of ours with words that differ from the chain kernel's is marked with their
// number. Then a step's 113 linears as one graph, where a kernel of ours streams weights while the
// one before it ends. lm_head is given 256 rows at most: a step computes logits of its last tokens.
#pragma nv_diag_suppress 20208  // fmt's long double, in functions that only the host calls
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <span>

#include "kernels/linear/linear_prepare_sm90.h"
#include "kernels/linear/linear_proof_sm90.h"
#include "kernels/linear/linear_sm90.h"
#include "kernels/self_check/digests.h"
#include "tensor/cuda.h"

namespace vexact {
namespace {

struct Layer {
  const char* name;
  LinearProblem problem;
  int64_t most_rows;
};
constexpr int64_t kMostLogits = 256;  // rows of lm_head
constexpr Layer kLayers[] = {
    {"qkv", {4096, 2048, false, false}, 2048},
    {"o", {2048, 2048, false, false}, 2048},
    {"gate_up", {12288, 2048, false, false}, 2048},
    {"down", {2048, 6144, false, false}, 2048},
    {"lm_head", {151936, 2048, false, true}, kMostLogits},
};
constexpr Layer kSmolLm2Layers[] = {
    {"smollm2 qkv", {960, 576, false, false}, 2048},
    {"smollm2 o", {576, 576, false, false}, 2048},
    {"smollm2 gate_up", {3072, 576, false, false}, 2048},
    {"smollm2 down", {576, 1536, false, false}, 2048},
    {"smollm2 lm_head", {49152, 576, false, true}, kMostLogits},
};
constexpr uint64_t kLeastWords = 1000000000;                         // to be compared
constexpr int64_t kRows[] = {1, 8, 16, 32, 64, 96, 128, 256, 2048};  // that are timed
constexpr int64_t kMostRows = 2048;
constexpr int kDecoderLayers = 28;  // of the model; lm_head is there once

// Of kRows, those up to `most`.
std::span<const int64_t> RowsUpTo(int64_t most) {
  return {std::begin(kRows), std::upper_bound(std::begin(kRows), std::end(kRows), most)};
}

double FloorMicroseconds(const LinearProblem& problem, int64_t rows) {
  const double words = static_cast<double>(problem.out_features) * problem.in_features;
  return std::max(words * 2 / 4.8e6, words * 2 * rows / 790e6);
}

// The least of three; none where the schedule does not run.
Result<std::optional<double>> BestTime(LinearProver& prover, const LinearSchedule& schedule,
                                       int64_t rows) {
  std::optional<double> best;
  for (int i = 0; i < 3; ++i) {
    VX_ASSIGN_OR_RETURN(const std::optional<double> time, prover.Time(schedule, rows));
    if (time.has_value()) best = std::min(best.value_or(*time), *time);
  }
  return best;
}

struct Best {
  double microseconds = std::numeric_limits<double>::infinity();
  std::string name = "-";

  void Take(double time, const std::string& schedule) {
    if (time >= microseconds) return;
    microseconds = time;
    name = schedule;
  }
};

// Algorithms that may split K, and have a workspace.
Result<Best> BestOfAny(const CublasLt& library, const CublasLtShape& shape, LinearProver& prover) {
  const auto matmul = std::make_shared<const CublasLtMatmul>(library, shape);
  Best best;
  for (const CublasLtAlgorithm& algorithm : matmul->Algorithms(16, kLinearWorkspaceBytes)) {
    const LinearSchedule schedule{algorithm.name, nullptr, matmul, algorithm, true};
    VX_ASSIGN_OR_RETURN(const std::optional<uint64_t> differences,
                        prover.CountDifferences(schedule, shape.rows));
    if (!differences.has_value()) continue;
    VX_ASSIGN_OR_RETURN(const std::optional<double> time, BestTime(prover, schedule, shape.rows));
    if (time.has_value())
      best.Take(*time, fmt::format("{} differs {}", schedule.name, *differences));
  }
  return best;
}

Status BenchOne(const CublasLt* library, const Layer& layer, int64_t rows, LinearProver& prover) {
  const CublasLtShape shape = {layer.problem, rows};
  VX_ASSIGN_OR_RETURN(const std::vector<LinearSchedule> candidates,
                      LinearCandidates(library, shape, Mode::kInvariant, {}));
  Best canonical;
  int refused = 0;
  std::string ours;
  for (const LinearSchedule& schedule : candidates) {
    VX_ASSIGN_OR_RETURN(const std::optional<uint64_t> differences,
                        prover.CountDifferences(schedule, rows));
    if (!differences.has_value()) continue;
    if (schedule.kernel == nullptr && *differences > 0) {
      ++refused;
      continue;
    }
    VX_ASSIGN_OR_RETURN(const std::optional<double> time, BestTime(prover, schedule, rows));
    if (!time.has_value()) continue;
    if (schedule.kernel == nullptr) {
      canonical.Take(*time, schedule.name);
    } else {
      ours += fmt::format("  [{}: {:.2f}{}]", schedule.name, *time,
                          *differences == 0 ? "" : fmt::format(", WRONG {}", *differences));
    }
  }
  Best any;
  if (library != nullptr) {
    VX_ASSIGN_OR_RETURN(any, BestOfAny(*library, shape, prover));
  }
  fmt::print("{:8} {:5} floor {:8.2f}  cublasLt {:8.2f} (refused {}, {})  any {:8.2f} ({}) {}\n",
             layer.name, rows, FloorMicroseconds(layer.problem, rows), canonical.microseconds,
             refused, canonical.name, any.microseconds, any.name, ours);
  std::fflush(stdout);
  return {};
}

// The weights of a model, activations of any of its linears, and their run as one graph.
class Model {
 public:
  static constexpr int64_t kMostIn = 6144;
  static constexpr int64_t kMostOut = 151936;  // lm_head's

  static Result<std::unique_ptr<Model>> Create() {
    std::unique_ptr<Model> model(new Model);
    VX_ASSIGN_OR_RETURN(model->owned_, MakeCudaStream());
    VX_ASSIGN_OR_RETURN(model->x_, AllocateCuda(kMostRows * kMostIn * sizeof(bf16)));
    VX_ASSIGN_OR_RETURN(model->y_, AllocateCuda(kMostLogits * kMostOut * sizeof(float)));
    FillProofInputs({model->x_.as<bf16>(), kMostRows, kMostIn}, model->stream());
    for (int i = 0; i < kDecoderLayers; ++i) {
      for (const Layer& layer : kLayers) {
        const bool is_last = layer.problem.out_features == kMostOut;
        if (is_last && i + 1 < kDecoderLayers) continue;
        VX_RETURN_IF_ERROR(model->AddWeight(layer.problem));
      }
    }
    VX_RETURN_IF_ERROR(SynchronizeCuda(model->stream()));
    return Result<std::unique_ptr<Model>>(std::move(model));
  }

  // Milliseconds.
  Result<double> Time(const LinearSm90& linear, int64_t rows) {
    VX_ASSIGN_OR_RETURN(const CapturedWork graph,
                        CaptureCuda(stream(), [&] { RunAll(linear, rows); }));
    constexpr int kReplays = 20;
    double seconds = 0;
    for (const int replays : {1, kReplays}) {  // one to warm up
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < replays; ++i) ReplayCuda(graph, stream());
      VX_RETURN_IF_ERROR(SynchronizeCuda(stream()));
      seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    return seconds * 1e3 / kReplays;
  }

 private:
  Stream& stream() { return owned_.stream; }

  Status AddWeight(const LinearProblem& problem) {
    LinearWeight weight{problem.out_features, problem.in_features};
    VX_ASSIGN_OR_RETURN(weight.storage, AllocateCuda(problem.out_features * problem.in_features *
                                                     static_cast<int64_t>(sizeof(bf16))));
    const Rows<bf16> rows(weight.storage.as<bf16>(), problem.out_features, problem.in_features);
    FillProofWeights(rows, stream());
    weight.rows = rows;
    weights_.push_back(std::move(weight));
    return {};
  }

  void RunAll(const LinearSm90& linear, int64_t rows) {
    for (const LinearWeight& weight : weights_) {
      LinearArgs args{.x = {x_.as<bf16>(), rows, weight.in_features}, .weight = &weight};
      if (weight.out_features == kMostOut) {
        args.x.rows = std::min(rows, kMostLogits);
        args.y_fp32 = {y_.as<float>(), args.x.rows, weight.out_features};
      } else {
        args.y = {y_.as<bf16>(), rows, weight.out_features};
      }
      linear.Run(args, stream());
    }
  }

  OwnedStream owned_;
  Buffer x_, y_;
  std::vector<LinearWeight> weights_;
};

double FloorMilliseconds(int64_t rows) {
  double microseconds = 0;
  for (const Layer& layer : kLayers) {
    const int times = layer.problem.out_features == Model::kMostOut ? 1 : kDecoderLayers;
    microseconds += times * FloorMicroseconds(layer.problem, std::min(rows, layer.most_rows));
  }
  return microseconds * 1e-3;
}

// What Prepare chooses, with the library and without.
Status BenchModel(const std::string& cublaslt) {
  VX_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, Model::Create());
  for (const std::string& path : {cublaslt, std::string("/none")}) {
    // Without the library more rows would be seconds of the chain kernel.
    const int64_t most_rows = path == cublaslt ? kMostRows : 256;
    VX_ASSIGN_OR_RETURN(const std::unique_ptr<LinearSm90> linear,
                        LinearSm90::Create(0, Mode::kInvariant, path));
    for (const Layer& layer : kLayers) {
      VX_RETURN_IF_ERROR(
          linear->Prepare({&layer.problem, 1}, RowsUpTo(std::min(most_rows, layer.most_rows))));
    }
    fmt::print("{}\n", linear->library());
    for (const LinearChoice& choice : linear->Choices()) {
      fmt::print("  [{}, {}] at {} rows: {}, {:.2f} us\n", choice.problem.out_features,
                 choice.problem.in_features, choice.rows, choice.schedule, choice.microseconds);
    }
    for (const int64_t rows : RowsUpTo(most_rows)) {
      VX_ASSIGN_OR_RETURN(const double milliseconds, model->Time(*linear, rows));
      fmt::print("113 linears {:5} rows {:8.3f} ms  floor {:8.3f}\n", rows, milliseconds,
                 FloorMilliseconds(rows));
      std::fflush(stdout);
    }
  }
  return {};
}

struct WordCount {
  uint64_t words = 0;  // of schedules that the engine may run
  uint64_t differing = 0;
  int schedules = 0;                 // at all numbers of rows
  std::vector<std::string> refused;  // algorithms of the library that have other words
};

// Every schedule of a layer at every number of rows, against the chain kernel at the most rows.
Result<WordCount> CountWords(const CublasLt* library, const Layer& layer) {
  WordCount count;
  VX_ASSIGN_OR_RETURN(const std::unique_ptr<LinearProver> prover,
                      LinearProver::Create(layer.problem, layer.most_rows));
  for (const int64_t rows : kDigestRows) {
    if (rows > layer.most_rows) break;
    VX_ASSIGN_OR_RETURN(const std::vector<LinearSchedule> candidates,
                        LinearCandidates(library, {layer.problem, rows}, Mode::kInvariant, {}));
    for (const LinearSchedule& schedule : candidates) {
      VX_ASSIGN_OR_RETURN(const std::optional<uint64_t> differences,
                          prover->CountDifferences(schedule, rows));
      if (!differences.has_value()) continue;
      if (schedule.kernel == nullptr && *differences > 0) {
        count.refused.push_back(
            fmt::format("{} rows: {} ({} words)", rows, schedule.name, *differences));
        continue;
      }
      ++count.schedules;
      count.words += static_cast<uint64_t>(rows * layer.problem.out_features);
      count.differing += *differences;
    }
  }
  return count;
}

Status CompareWords(const std::string& cublaslt) {
  VX_ASSIGN_OR_RETURN(const std::unique_ptr<CublasLt> library, CublasLt::Open(cublaslt));
  fmt::print("{}\n", library->description());
  std::vector<Layer> layers(std::begin(kLayers), std::end(kLayers));
  layers.insert(layers.end(), std::begin(kSmolLm2Layers), std::end(kSmolLm2Layers));
  uint64_t words = 0;
  uint64_t differing = 0;
  for (const Layer& layer : layers) {
    VX_ASSIGN_OR_RETURN(const WordCount count, CountWords(library.get(), layer));
    fmt::print("{:16} {:>5} schedules, {:>12} words, {} differ, {} algorithms refused\n",
               layer.name, count.schedules, count.words, count.differing, count.refused.size());
    for (const std::string& refused : count.refused) fmt::print("    refused at {}\n", refused);
    std::fflush(stdout);
    words += count.words;
    differing += count.differing;
  }
  fmt::print("words: {} words compared, {} differ\n", words, differing);
  if (differing > 0) return MakeError(ErrorCode::kInternal, "{} words differ", differing);
  if (words < kLeastWords) {
    return MakeError(ErrorCode::kInternal, "expected at least {} words compared, found {}",
                     kLeastWords, words);
  }
  return {};
}

Status Bench(const std::string& cublaslt) {
  Result<std::unique_ptr<CublasLt>> library = CublasLt::Open(cublaslt);
  const CublasLt* opened = library.ok() ? library.value().get() : nullptr;
  for (const Layer& layer : kLayers) {
    VX_ASSIGN_OR_RETURN(const std::unique_ptr<LinearProver> prover,
                        LinearProver::Create(layer.problem, layer.most_rows));
    for (const int64_t rows : RowsUpTo(layer.most_rows)) {
      VX_RETURN_IF_ERROR(BenchOne(opened, layer, rows, *prover));
    }
  }
  return BenchModel(cublaslt);
}

}  // namespace
}  // namespace vexact

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "times";
  const std::string cublaslt = argc > 2 ? argv[2] : "";
  if (what != "times" && what != "words") {
    fmt::print("expected times or words, found \"{}\"\n", what);
    return 2;
  }
  const vexact::Status status =
      what == "words" ? vexact::CompareWords(cublaslt) : vexact::Bench(cublaslt);
  if (!status.ok()) fmt::print("{}\n", status.error().message);
  return status.ok() ? 0 : 1;
}
