#include "kernels/linear/linear_sm90.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <limits>
#include <map>
#include <mutex>
#include <tuple>

#include "kernels/linear/linear_prepare_sm90.h"
#include "kernels/linear/linear_schedules_sm90.h"

namespace vexact {
namespace {

using Key = std::tuple<int64_t, int64_t, bool, bool, int64_t>;

Key KeyOf(const LinearProblem& problem, int64_t rows) {
  return {problem.out_features, problem.in_features, problem.has_bias, problem.fp32_output, rows};
}

struct Entry {
  LinearSchedule schedule;
  LinearChoice choice;
};

Error OtherBits(const CublasLtShape& shape, const LinearSchedule& schedule, uint64_t differences) {
  return MakeError(ErrorCode::kInternal,
                   "linear [{}, {}] at {} rows, schedule \"{}\": expected the bits of the chain "
                   "kernel, found {} other words",
                   shape.problem.out_features, shape.problem.in_features, shape.rows, schedule.name,
                   differences);
}

// The fastest of the candidates: of those that are proven, or in mode variant of all. The chain
// kernel is only timed where it may win: it is half as fast as a library at many rows, where timing
// it would be most of the work.
Result<Entry> Choose(LinearProver& prover, const CublasLtShape& shape, Mode mode,
                     std::vector<LinearSchedule> candidates) {
  constexpr int64_t kMostRowsToTimeChain = 64;
  Entry best;
  best.choice.problem = shape.problem;
  best.choice.rows = shape.rows;
  best.choice.microseconds = std::numeric_limits<double>::infinity();
  for (LinearSchedule& candidate : candidates) {
    VX_ASSIGN_OR_RETURN(const std::optional<uint64_t> differences,
                        prover.CountDifferences(candidate, shape.rows));
    if (!differences.has_value()) continue;
    const bool is_canonical = *differences == 0;
    if (!is_canonical && candidate.kernel != nullptr && !candidate.is_faulty) {
      return OtherBits(shape, candidate, *differences);
    }
    if (!is_canonical && (mode == Mode::kInvariant || candidate.is_faulty)) {
      best.choice.refused.push_back(candidate.name);
      continue;
    }
    const bool is_last_resort =
        candidate.kernel == LinearChainSm90 && shape.rows > kMostRowsToTimeChain;
    if (is_last_resort && !best.choice.schedule.empty()) continue;
    VX_ASSIGN_OR_RETURN(const std::optional<double> time, prover.Time(candidate, shape.rows));
    if (!time.has_value()) continue;
    TimedSchedule& of_kind =
        is_canonical ? best.choice.fastest_canonical : best.choice.fastest_free;
    if (*time < of_kind.microseconds) of_kind = {candidate.name, *time};
    if (*time >= best.choice.microseconds) continue;
    best.choice.schedule = candidate.name;
    best.choice.microseconds = *time;
    best.choice.is_canonical = is_canonical;
    best.schedule = std::move(candidate);
  }
  if (best.choice.schedule.empty()) {
    return MakeError(ErrorCode::kInternal,
                     "linear [{}, {}] at {} rows: expected a schedule that runs, found none",
                     shape.problem.out_features, shape.problem.in_features, shape.rows);
  }
  return best;
}

// The given device is current in its scope.
class ScopedDevice {
 public:
  explicit ScopedDevice(int device) {
    cudaGetDevice(&before_);
    cudaSetDevice(device);
  }
  ~ScopedDevice() { cudaSetDevice(before_); }
  ScopedDevice(const ScopedDevice&) = delete;
  ScopedDevice& operator=(const ScopedDevice&) = delete;

 private:
  int before_ = 0;
};

CublasLtWorkspace WorkspaceOf(const Stream& stream) {
  if (stream.workspace == nullptr) return {};
  return {stream.workspace->data(), stream.workspace->bytes()};
}

bool CanRun(const LinearSchedule& schedule, const LinearArgs& args,
            const CublasLtWorkspace& workspace) {
  if (schedule.kernel != nullptr) return true;
  return schedule.algorithm.workspace_bytes <= workspace.bytes && schedule.matmul->Takes(args);
}

}  // namespace

struct LinearSm90::State {
  int device;
  Mode mode;
  std::unique_ptr<CublasLt> cublaslt;  // or none
  std::string library;
  mutable std::mutex mutex;  // guards what follows; entries are never changed or removed
  std::map<Key, Entry> entries;

  const Entry* Find(const LinearProblem& problem, int64_t rows) const {
    const std::lock_guard lock(mutex);
    const auto found = entries.find(KeyOf(problem, rows));
    return found == entries.end() ? nullptr : &found->second;
  }
};

LinearSm90::LinearSm90(std::unique_ptr<State> state) : state_(std::move(state)) {}
LinearSm90::~LinearSm90() = default;

Result<std::unique_ptr<LinearSm90>> LinearSm90::Create(int device, Mode mode,
                                                       const std::string& cublaslt) {
  const ScopedDevice current(device);
  auto state = std::make_unique<State>();
  state->device = device;
  state->mode = mode;
  Result<std::unique_ptr<CublasLt>> library = CublasLt::Open(cublaslt);
  if (library.ok()) {
    state->cublaslt = std::move(library).value();
    state->library = state->cublaslt->description();
  } else {
    state->library = library.error().message;
  }
  return std::unique_ptr<LinearSm90>(new LinearSm90(std::move(state)));
}

Status LinearSm90::Prepare(std::span<const LinearProblem> problems, std::span<const int64_t> rows,
                           LinearFaults faults) {
  const ScopedDevice current(state_->device);
  for (const LinearProblem& problem : problems) {
    std::vector<int64_t> missing;
    for (const int64_t count : rows) {
      if (count > 0 && state_->Find(problem, count) == nullptr) missing.push_back(count);
    }
    if (missing.empty()) continue;
    VX_ASSIGN_OR_RETURN(
        const std::unique_ptr<LinearProver> prover,
        LinearProver::Create(problem, *std::max_element(missing.begin(), missing.end())));
    for (const int64_t count : missing) {
      const CublasLtShape shape = {problem, count};
      VX_ASSIGN_OR_RETURN(std::vector<LinearSchedule> candidates,
                          LinearCandidates(state_->cublaslt.get(), shape, state_->mode, faults));
      VX_ASSIGN_OR_RETURN(Entry entry, Choose(*prover, shape, state_->mode, std::move(candidates)));
      const std::lock_guard lock(state_->mutex);
      state_->entries.emplace(KeyOf(problem, count), std::move(entry));
    }
  }
  return {};
}

void LinearSm90::Run(const LinearArgs& args, Stream& stream) const {
  if (args.x.rows == 0) return;
  const LinearProblem problem = {args.weight->out_features, args.weight->in_features,
                                 args.bias != nullptr, args.y_fp32.data != nullptr};
  const Entry* entry = state_->Find(problem, args.x.rows);
  const CublasLtWorkspace workspace = WorkspaceOf(stream);
  const bool is_prepared = entry != nullptr && CanRun(entry->schedule, args, workspace);
  if (stream.counts != nullptr) {
    ++stream.counts->linear;
    stream.counts->free_linear += is_prepared && !entry->choice.is_canonical ? 1 : 0;
  }
  if (!is_prepared) {
    LinearChainSm90(args, stream);
    return;
  }
  VX_CHECK(RunLinearSchedule(entry->schedule, args, workspace, stream),
           "a schedule that ran in Prepare runs");
}

std::vector<LinearChoice> LinearSm90::Choices() const {
  const std::lock_guard lock(state_->mutex);
  std::vector<LinearChoice> choices;
  for (const auto& [key, entry] : state_->entries) choices.push_back(entry.choice);
  return choices;
}

const std::string& LinearSm90::library() const { return state_->library; }

}  // namespace vexact
