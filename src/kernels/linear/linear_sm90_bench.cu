// Times and bits of every linear schedule on one Hopper GPU, on the layers of Qwen3-1.7B: a program
// of its own, so that it can be carried to a machine that has a GPU and nothing else of ours.
//
//   scripts/build cuda vexact_gpu_benches
//   build/cuda/linear_sm90_bench [path of libcublasLt.so.13]
//
// Columns: the floor (4.8 TB/s of weights, or 790 TFLOP/s), the best of cuBLASLt without a split of
// K and with the canonical bits, the best of cuBLASLt whatever its bits (`any`), then each kernel
// of ours; microseconds a call in a graph of calls whose weights are not in the L2 cache. A kernel
// of ours with words that differ from the chain kernel's is marked with their number.
#pragma nv_diag_suppress 20208  // fmt's long double, in functions that only the host calls
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>

#include "kernels/linear/linear_prepare_sm90.h"
#include "kernels/linear/linear_sm90.h"

namespace vexact {
namespace {

struct Layer {
  const char* name;
  LinearProblem problem;
  int64_t most_rows;
};
constexpr Layer kLayers[] = {
    {"qkv", {4096, 2048, false, false}, 2048},      {"o", {2048, 2048, false, false}, 2048},
    {"gate_up", {12288, 2048, false, false}, 2048}, {"down", {2048, 6144, false, false}, 2048},
    {"lm_head", {151936, 2048, false, true}, 256},
};
constexpr int64_t kRows[] = {1, 2, 4, 8, 16, 24, 32, 48, 64, 128, 256, 512, 1024, 2048};

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

// How long a start would take.
Status BenchPrepare(const std::string& cublaslt) {
  VX_ASSIGN_OR_RETURN(const std::unique_ptr<LinearSm90> linear,
                      LinearSm90::Create(0, Mode::kInvariant, cublaslt));
  std::vector<LinearProblem> problems;
  for (const Layer& layer : kLayers) {
    if (layer.most_rows == 2048) problems.push_back(layer.problem);
  }
  std::vector<int64_t> rows;
  for (int64_t count = 1; count <= 8; ++count) rows.push_back(count);
  for (int64_t count = 16; count <= 256; count += 16) rows.push_back(count);
  for (int64_t count = 384; count <= 2048; count += 128) rows.push_back(count);
  const auto start = std::chrono::steady_clock::now();
  VX_RETURN_IF_ERROR(linear->Prepare(problems, rows));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  fmt::print("{}\nPrepare of {} problems at {} numbers of rows: {:.2f} s\n", linear->library(),
             problems.size(), rows.size(), took.count());
  for (const LinearChoice& choice : linear->Choices()) {
    for (const std::string& name : choice.refused) {
      fmt::print("refused: [{}, {}] at {} rows: {}\n", choice.problem.out_features,
                 choice.problem.in_features, choice.rows, name);
    }
  }
  return {};
}

Status Bench(const std::string& cublaslt) {
  VX_RETURN_IF_ERROR(BenchPrepare(cublaslt));
  Result<std::unique_ptr<CublasLt>> library = CublasLt::Open(cublaslt);
  const CublasLt* opened = library.ok() ? library.value().get() : nullptr;
  for (const Layer& layer : kLayers) {
    VX_ASSIGN_OR_RETURN(const std::unique_ptr<LinearProver> prover,
                        LinearProver::Create(layer.problem, layer.most_rows));
    for (const int64_t rows : kRows) {
      if (rows > layer.most_rows) continue;
      VX_RETURN_IF_ERROR(BenchOne(opened, layer, rows, *prover));
    }
  }
  return {};
}

}  // namespace
}  // namespace vexact

int main(int argc, char** argv) {
  const vexact::Status status = vexact::Bench(argc > 1 ? argv[1] : "");
  if (!status.ok()) fmt::print("{}\n", status.error().message);
  return status.ok() ? 0 : 1;
}
