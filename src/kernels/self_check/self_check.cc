#include "kernels/self_check/self_check.h"

#include <chrono>
#include <utility>

namespace vexact {
namespace {

constexpr size_t kArenaBytes = size_t{128} << 20;  // the largest call, some room included

// A backend with what calls on it need.
struct Side {
  const Backend& backend;
  Buffer arena;
  OwnedStream stream;

  static Result<Side> Create(const Backend& backend, ThreadPool& pool) {
    VX_ASSIGN_OR_RETURN(Buffer arena, backend.Allocate(kArenaBytes));
    VX_ASSIGN_OR_RETURN(OwnedStream stream, backend.MakeStream(&pool));
    return Side{backend, std::move(arena), std::move(stream)};
  }
};

// Adds the differences of one output to the result.
void Compare(const CallOutput& found, const CallOutput& expected, SelfCheckResult& result) {
  std::vector<uint32_t> found_words;
  std::vector<uint32_t> expected_words;
  found.AppendAll(found_words);
  expected.AppendAll(expected_words);
  VX_CHECK(found_words.size() == expected_words.size());
  result.words += found_words.size();
  for (size_t i = 0; i < found_words.size(); ++i) {
    if (found_words[i] == expected_words[i]) continue;
    if (result.differing++ == 0) {
      result.first = fmt::format("{}, word {}: found {:#x}, expected {:#x}", found.name, i,
                                 found_words[i], expected_words[i]);
    }
  }
}

Result<SelfCheckResult> RunCase(const SelfCheckCase& check, Side& device, Side& expected) {
  const auto start = std::chrono::steady_clock::now();
  SelfCheckResult result{.op = check.op, .shape = check.shape};
  OperatorCall on_device(device.backend, device.arena, device.stream.stream);
  OperatorCall on_host(expected.backend, expected.arena, expected.stream.stream);
  VX_RETURN_IF_ERROR(check.run(on_device));
  VX_RETURN_IF_ERROR(check.run(on_host));  // while the device is busy
  VX_RETURN_IF_ERROR(on_device.Finish());
  VX_RETURN_IF_ERROR(on_host.Finish());
  for (size_t i = 0; i < on_device.outputs().size(); ++i) {
    Compare(on_device.outputs()[i], on_host.outputs()[i], result);
  }
  const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - start;
  result.milliseconds = spent.count();
  return result;
}

}  // namespace

std::vector<SelfCheckCase> SelfCheckCases() {
  std::vector<SelfCheckCase> cases;
  AddLinearChecks(cases);
  AddRowChecks(cases);
  AddAttentionChecks(cases);
  AddMoeChecks(cases);
  AddLogitChecks(cases);
  return cases;
}

Status SelfCheckReport::status(std::string_view device) const {
  size_t wrong = 0;
  const SelfCheckResult* first = nullptr;
  for (const SelfCheckResult& result : results) {
    if (result.differing == 0) continue;
    if (wrong++ == 0) first = &result;
  }
  if (wrong == 0) return {};
  return MakeError(ErrorCode::kInternal,
                   "{}: self-check: {} ({}): expected the bits of the CPU, found {} of {} words "
                   "that differ ({}); {} of {} checks fail",
                   device, first->op, first->shape, first->differing, first->words, first->first,
                   wrong, results.size());
}

Result<SelfCheckReport> RunSelfCheck(const Backend& device, const Backend& expected,
                                     SelfCheckScope scope, ThreadPool& pool) {
  VX_ASSIGN_OR_RETURN(Side on_device, Side::Create(device, pool));
  VX_ASSIGN_OR_RETURN(Side on_host, Side::Create(expected, pool));
  SelfCheckReport report;
  for (const SelfCheckCase& check : SelfCheckCases()) {
    if (scope == SelfCheckScope::kShort && !check.in_short) continue;
    if (check.has_mask && device.attention_kernels() == AttentionKernels::kCute) continue;
    VX_ASSIGN_OR_RETURN(SelfCheckResult result, RunCase(check, on_device, on_host));
    report.results.push_back(std::move(result));
  }
  return report;
}

}  // namespace vexact
