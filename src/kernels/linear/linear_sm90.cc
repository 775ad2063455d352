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

// The fastest of the candidates that are proven. The chain kernel is only timed where it may win:
// it is half as fast as a library at many rows, where timing it would be most of the work.
Result<Entry> Choose(LinearProver& prover, const CublasLtShape& shape,
                     std::vector<LinearSchedule> candidates) {
  constexpr int64_t kMostRowsToTimeChain = 64;
  Entry best;
  best.choice = {shape.problem, shape.rows, "", std::numeric_limits<double>::infinity(), {}};
  for (LinearSchedule& candidate : candidates) {
    VX_ASSIGN_OR_RETURN(const std::optional<uint64_t> differences,
                        prover.CountDifferences(candidate, shape.rows));
    if (!differences.has_value()) continue;
    if (*differences > 0) {
      if (candidate.kernel != nullptr && !candidate.is_faulty) {
        return MakeError(ErrorCode::kInternal,
                         "linear [{}, {}] at {} rows, schedule \"{}\": expected the bits of the "
                         "chain kernel, found {} other words",
                         shape.problem.out_features, shape.problem.in_features, shape.rows,
                         candidate.name, *differences);
      }
      best.choice.refused.push_back(candidate.name);
      continue;
    }
    const bool is_last_resort =
        candidate.kernel == LinearChainSm90 && shape.rows > kMostRowsToTimeChain;
    if (is_last_resort && !best.choice.schedule.empty()) continue;
    VX_ASSIGN_OR_RETURN(const std::optional<double> time, prover.Time(candidate, shape.rows));
    if (!time.has_value() || *time >= best.choice.microseconds) continue;
    best.choice.schedule = candidate.name;
    best.choice.microseconds = *time;
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

}  // namespace

struct LinearSm90::State {
  int device;
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

Result<std::unique_ptr<LinearSm90>> LinearSm90::Create(int device, const std::string& cublaslt) {
  const ScopedDevice current(device);
  auto state = std::make_unique<State>();
  state->device = device;
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
                          LinearCandidates(state_->cublaslt.get(), shape, faults));
      VX_ASSIGN_OR_RETURN(Entry entry, Choose(*prover, shape, std::move(candidates)));
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
  const bool is_prepared = entry != nullptr && (entry->schedule.kernel != nullptr ||
                                                entry->schedule.matmul->Takes(args));
  if (!is_prepared) {
    LinearChainSm90(args, stream);
    return;
  }
  VX_CHECK(RunLinearSchedule(entry->schedule, args, CublasLtWorkspace(), stream),
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
