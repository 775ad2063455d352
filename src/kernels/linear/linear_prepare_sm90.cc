#include "kernels/linear/linear_prepare_sm90.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/linear/linear_proof_sm90.h"
#include "kernels/linear/linear_schedules_sm90.h"

namespace vexact {
namespace {

constexpr int kMostAlgorithms = 16;      // asked of the library
constexpr int kMostFreeAlgorithms = 64;  // the same in mode variant, which misses none
constexpr uint32_t kFaultyParts = 4;
// Copies of the weights that are read in turn: more than the L2 cache (50 MB on an H100, 60 MB on
// an H200) holds.
constexpr int64_t kRotatedBytes = int64_t{160} << 20;
constexpr int kMostCopies = 20;
// About what a layer's small kernels take. (256 requests of Qwen3-1.7B: 2.392 s; with 0, 2.402;
// with candidates timed back to back, 2.477.)
constexpr uint64_t kNeighbourNanoseconds = 2000;

Status CudaStatus(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  return MakeError(ErrorCode::kInternal, "linear, {}: expected success, found {}", what,
                   cudaGetErrorString(error));
}

template <typename T, cudaError_t (*kDestroy)(T)>
struct Destroyer {
  using pointer = T;  // NOLINT(readability-identifier-naming): std::unique_ptr's name
  void operator()(T object) const { kDestroy(object); }
};
using OwnedGraph = std::unique_ptr<cudaGraph_t, Destroyer<cudaGraph_t, cudaGraphDestroy>>;
using OwnedGraphExec =
    std::unique_ptr<cudaGraphExec_t, Destroyer<cudaGraphExec_t, cudaGraphExecDestroy>>;
using OwnedEvent = std::unique_ptr<cudaEvent_t, Destroyer<cudaEvent_t, cudaEventDestroy>>;

int64_t OutputBytes(const LinearProblem& problem, int64_t rows) {
  return rows * problem.out_features * (problem.fp32_output ? 4 : 2);
}

LinearSchedule OfLibrary(std::shared_ptr<const CublasLtMatmul> matmul,
                         const CublasLtAlgorithm& algorithm) {
  return {algorithm.name, nullptr, std::move(matmul), algorithm, false};
}

// K split on purpose: an algorithm that the library splits itself, or one that can be made to.
Result<LinearSchedule> FaultySplit(const std::shared_ptr<const CublasLtMatmul>& matmul) {
  const std::vector<CublasLtAlgorithm> algorithms =
      matmul->Algorithms(kMostAlgorithms, kLinearWorkspaceBytes);
  for (const CublasLtAlgorithm& algorithm : algorithms) {
    Result<CublasLtAlgorithm> split = algorithm.split_k > 1
                                          ? Result<CublasLtAlgorithm>(algorithm)
                                          : matmul->WithSplitK(algorithm, kFaultyParts);
    if (!split.ok() || split->workspace_bytes > kLinearWorkspaceBytes) continue;
    LinearSchedule schedule = OfLibrary(matmul, *split);
    schedule.is_faulty = true;
    return schedule;
  }
  return Unsupported("a forced split of K: expected an algorithm that allows it, found none of {}",
                     algorithms.size());
}

// What the library offers with a workspace for reductions, without those that are there already.
void AddFreeAlgorithms(const std::shared_ptr<const CublasLtMatmul>& matmul,
                       std::vector<LinearSchedule>* candidates) {
  for (const CublasLtAlgorithm& algorithm :
       matmul->Algorithms(kMostFreeAlgorithms, kLinearWorkspaceBytes)) {
    const bool known = std::ranges::any_of(*candidates, [&](const LinearSchedule& candidate) {
      return candidate.matmul != nullptr &&
             std::memcmp(&candidate.algorithm.algorithm, &algorithm.algorithm,
                         sizeof(algorithm.algorithm)) == 0;
    });
    if (!known) candidates->push_back(OfLibrary(matmul, algorithm));
  }
}

// The tiles that leave little idle: of those as high, which cover the tokens in as many blocks, the
// narrowest. In more than a few blocks of tokens x and weights are read too often, and beyond what
// runs at once a library's larger tiles are faster.
void AddTiles(const CublasLtShape& shape, std::vector<LinearSchedule>* candidates) {
  constexpr int64_t kMostTokenBlocks = 4;
  constexpr int64_t kMostBlocks = 2 * 132;  // two an SM; if there is more than one of tokens
  if (shape.problem.in_features % kLinearTilesDepth != 0) return;
  const LinearTile* before = nullptr;
  for (const LinearTile& tile : LinearTilesSm90()) {
    const auto token_blocks = [&shape](const LinearTile& t) {
      return (shape.rows + t.tokens - 1) / t.tokens;
    };
    const bool is_wider = before != nullptr && before->outs == tile.outs &&
                          token_blocks(*before) == token_blocks(tile);
    before = &tile;
    const int64_t blocks =
        token_blocks(tile) * ((shape.problem.out_features + tile.outs - 1) / tile.outs);
    if (is_wider || token_blocks(tile) > kMostTokenBlocks) continue;
    if (token_blocks(tile) > 1 && blocks > kMostBlocks) continue;
    candidates->push_back(
        {fmt::format("tiles {}x{}", tile.outs, tile.tokens), tile.kernel, nullptr, {}, false});
  }
}

}  // namespace

bool RunLinearSchedule(const LinearSchedule& schedule, const LinearArgs& args,
                       const CublasLtWorkspace& workspace, Stream& stream) {
  if (schedule.kernel != nullptr) {
    schedule.kernel(args, stream);
    return true;
  }
  return schedule.matmul->Run(schedule.algorithm, args, workspace, stream);
}

Result<std::vector<LinearSchedule>> LinearCandidates(const CublasLt* library,
                                                     const CublasLtShape& shape, Mode mode,
                                                     LinearFaults faults) {
  std::vector<LinearSchedule> candidates;
  if (faults.steps_of_8) {
    LinearSchedule schedule{"chain of m16n8k8", LinearStepsOf8Sm90, nullptr, {}, true};
    candidates.push_back(std::move(schedule));
  }
  const bool dense = shape.problem.in_features % 8 == 0 && shape.problem.out_features % 8 == 0;
  if (library != nullptr && dense) {
    const auto matmul = std::make_shared<const CublasLtMatmul>(*library, shape);
    if (faults.split_k) {
      VX_ASSIGN_OR_RETURN(LinearSchedule split, FaultySplit(matmul));
      candidates.push_back(std::move(split));
    }
    for (const CublasLtAlgorithm& algorithm : matmul->Algorithms(kMostAlgorithms, 0)) {
      if (algorithm.split_k > 1 && mode == Mode::kInvariant) continue;
      candidates.push_back(OfLibrary(matmul, algorithm));
    }
    if (mode == Mode::kVariant) AddFreeAlgorithms(matmul, &candidates);
  }
  AddTiles(shape, &candidates);
  candidates.push_back({"chain", LinearChainSm90, nullptr, {}, false});
  return candidates;
}

LinearProver::LinearProver(const LinearProblem& problem, int64_t max_rows)
    : problem_(problem), max_rows_(max_rows), stride_((problem.in_features + 7) / 8 * 8) {}

Result<std::unique_ptr<LinearProver>> LinearProver::Create(const LinearProblem& problem,
                                                           int64_t max_rows) {
  std::unique_ptr<LinearProver> prover(new LinearProver(problem, max_rows));
  cudaStream_t queue = nullptr;
  VX_RETURN_IF_ERROR(
      CudaStatus(cudaStreamCreateWithFlags(&queue, cudaStreamNonBlocking), "a stream for proofs"));
  prover->queue_.reset(queue);
  prover->stream_.cuda = queue;
  VX_RETURN_IF_ERROR(prover->AllocateAll());
  VX_RETURN_IF_ERROR(prover->ComputeReference());
  return prover;
}

Status LinearProver::Allocate(size_t bytes, DeviceMemory* memory) {
  void* data = nullptr;
  if (cudaMalloc(&data, bytes) != cudaSuccess) {
    cudaGetLastError();  // the runtime forgets it: it is reported here
    return MakeError(ErrorCode::kResourceExhausted,
                     "proving linear [{}, {}] at {} rows: expected {} bytes of device memory",
                     problem_.out_features, problem_.in_features, max_rows_, bytes);
  }
  memory->reset(data);
  return CudaStatus(cudaMemsetAsync(data, 0, bytes, stream_.cuda), "clearing scratch");
}

Status LinearProver::AllocateAll() {
  const int64_t weight_bytes = problem_.out_features * stride_ * int64_t{sizeof(bf16)};
  const int64_t copies = std::clamp<int64_t>(kRotatedBytes / weight_bytes + 1, 1, kMostCopies);
  VX_RETURN_IF_ERROR(Allocate(max_rows_ * stride_ * sizeof(bf16), &x_));
  VX_RETURN_IF_ERROR(Allocate(problem_.out_features * sizeof(bf16), &bias_));
  VX_RETURN_IF_ERROR(Allocate(copies * weight_bytes, &weights_));
  VX_RETURN_IF_ERROR(Allocate(OutputBytes(problem_, max_rows_), &reference_));
  VX_RETURN_IF_ERROR(Allocate(OutputBytes(problem_, max_rows_), &y_));
  VX_RETURN_IF_ERROR(Allocate(sizeof(unsigned long long), &differences_));
  VX_RETURN_IF_ERROR(Allocate(kLinearWorkspaceBytes, &workspace_));
  for (int64_t copy = 0; copy < copies; ++copy) {
    bf16* rows = static_cast<bf16*>(weights_.get()) + copy * problem_.out_features * stride_;
    copies_.push_back(
        {problem_.out_features, problem_.in_features, Buffer(),
         Rows<const bf16>(rows, problem_.out_features, problem_.in_features, stride_)});
  }
  return {};
}

Status LinearProver::ComputeReference() {
  FillProofInputs(
      Rows<bf16>(static_cast<bf16*>(x_.get()), max_rows_, problem_.in_features, stride_), stream_);
  FillProofBias(static_cast<bf16*>(bias_.get()), problem_.out_features, stream_);
  for (size_t copy = 0; copy < copies_.size(); ++copy) {
    bf16* rows = static_cast<bf16*>(weights_.get()) + copy * problem_.out_features * stride_;
    FillProofWeights(Rows<bf16>(rows, problem_.out_features, problem_.in_features, stride_),
                     stream_);
  }
  // Schedules may read weights before what is queued ahead of them has finished.
  VX_RETURN_IF_ERROR(CudaStatus(cudaStreamSynchronize(stream_.cuda), "filling a proof's inputs"));
  LinearChainSm90(Args(max_rows_, 0, reference_.get()), stream_);
  return CudaStatus(cudaStreamSynchronize(stream_.cuda), "computing a proof's reference");
}

LinearArgs LinearProver::Args(int64_t rows, int weight_copy, void* y) const {
  LinearArgs args{
      Rows<const bf16>(static_cast<const bf16*>(x_.get()), rows, problem_.in_features, stride_),
      &copies_[weight_copy]};
  if (problem_.has_bias) args.bias = static_cast<const bf16*>(bias_.get());
  if (problem_.fp32_output) {
    args.y_fp32 = Rows<float>(static_cast<float*>(y), rows, problem_.out_features);
  } else {
    args.y = Rows<bf16>(static_cast<bf16*>(y), rows, problem_.out_features);
  }
  return args;
}

CublasLtWorkspace LinearProver::WorkspaceOf(const LinearSchedule& schedule) const {
  if (schedule.kernel != nullptr || schedule.algorithm.workspace_bytes == 0) return {};
  return {workspace_.get(), kLinearWorkspaceBytes};
}

// Enough calls for about 80 us at 4 TB/s and 600 TFLOP/s, so that a graph's own time is small
// against them.
int LinearProver::CallsToTime(int64_t rows) const {
  const double words = static_cast<double>(problem_.out_features) * problem_.in_features;
  const double microseconds =
      std::max(words * 2 / 4e6, words * 2 * static_cast<double>(rows) / 6e8);
  return std::clamp(static_cast<int>(80 / microseconds), 2, kMostCopies);
}

Result<std::optional<double>> LinearProver::Time(const LinearSchedule& schedule, int64_t rows) {
  const int calls = CallsToTime(rows);
  const CublasLtWorkspace workspace = WorkspaceOf(schedule);
  VX_RETURN_IF_ERROR(CudaStatus(cudaStreamBeginCapture(stream_.cuda, cudaStreamCaptureModeRelaxed),
                                "starting a graph"));
  bool runs = true;
  for (int call = 0; call < calls && runs; ++call) {
    const int copy = call % static_cast<int>(copies_.size());
    runs = RunLinearSchedule(schedule, Args(rows, copy, y_.get()), workspace, stream_);
    LaunchNeighbour(kNeighbourNanoseconds, stream_);
  }
  cudaGraph_t captured = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream_.cuda, &captured);
  const OwnedGraph graph(captured);
  if (!runs || ended != cudaSuccess) {
    cudaGetLastError();  // the runtime forgets it: this schedule is left out
    return std::optional<double>();
  }
  cudaGraphExec_t instantiated = nullptr;
  VX_RETURN_IF_ERROR(
      CudaStatus(cudaGraphInstantiate(&instantiated, graph.get(), 0), "making a graph"));
  const OwnedGraphExec exec(instantiated);

  constexpr int kRepetitions = 2;
  OwnedEvent events[kRepetitions + 1];
  for (OwnedEvent& event : events) {
    cudaEvent_t created = nullptr;
    VX_RETURN_IF_ERROR(CudaStatus(cudaEventCreate(&created), "an event"));
    event.reset(created);
  }
  cudaGraphLaunch(exec.get(), stream_.cuda);  // warms up
  cudaEventRecord(events[0].get(), stream_.cuda);
  for (int i = 1; i <= kRepetitions; ++i) {
    cudaGraphLaunch(exec.get(), stream_.cuda);
    cudaEventRecord(events[i].get(), stream_.cuda);
  }
  VX_RETURN_IF_ERROR(CudaStatus(cudaStreamSynchronize(stream_.cuda), schedule.name.c_str()));
  float best = INFINITY;  // milliseconds
  for (int i = 1; i <= kRepetitions; ++i) {
    float milliseconds = 0;
    VX_RETURN_IF_ERROR(CudaStatus(
        cudaEventElapsedTime(&milliseconds, events[i - 1].get(), events[i].get()), "a timing"));
    best = std::min(best, milliseconds);
  }
  return std::optional<double>(1000.0 * best / calls);
}

Result<std::optional<uint64_t>> LinearProver::CountDifferences(const LinearSchedule& schedule,
                                                               int64_t rows) {
  const size_t bytes = OutputBytes(problem_, rows);
  VX_RETURN_IF_ERROR(CudaStatus(cudaMemsetAsync(y_.get(), 0xff, bytes, stream_.cuda), "a proof"));
  auto* differences = static_cast<unsigned long long*>(differences_.get());
  VX_RETURN_IF_ERROR(
      CudaStatus(cudaMemsetAsync(differences, 0, sizeof(*differences), stream_.cuda), "a proof"));
  const LinearArgs found = Args(rows, 0, y_.get());
  if (!RunLinearSchedule(schedule, found, WorkspaceOf(schedule), stream_)) {
    return std::optional<uint64_t>();
  }
  const LinearArgs expected = Args(rows, 0, reference_.get());
  if (problem_.fp32_output) {
    vexact::CountDifferences(found.y_fp32, expected.y_fp32, differences, stream_);
  } else {
    vexact::CountDifferences(found.y, expected.y, differences, stream_);
  }
  unsigned long long count = 0;
  VX_RETURN_IF_ERROR(CudaStatus(
      cudaMemcpyAsync(&count, differences, sizeof(count), cudaMemcpyDeviceToHost, stream_.cuda),
      "a proof"));
  VX_RETURN_IF_ERROR(CudaStatus(cudaStreamSynchronize(stream_.cuda), schedule.name.c_str()));
  return std::optional<uint64_t>(count);
}

}  // namespace vexact
