// budget: a wrong version of every operator
#include "support/faulty_backend.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include "kernels/attention/attention_reference.h"
#include "kernels/host_backend.h"
#include "numerics/constants.h"
#include "numerics/dot16.h"
#include "numerics/ex2.h"

namespace vexact {
namespace {

const CpuTarget kTarget = SupportedCpuTargets().back();

// Memory that is counted as long as it is held.
struct CountedBuffer {
  CountedBuffer(Buffer b, std::shared_ptr<std::atomic<int64_t>> u)
      : buffer(std::move(b)), used(std::move(u)) {
    *used += static_cast<int64_t>(buffer.bytes());
  }
  ~CountedBuffer() { *used -= static_cast<int64_t>(buffer.bytes()); }

  Buffer buffer;
  std::shared_ptr<std::atomic<int64_t>> used;
};

class HookedBackend final : public HostBackend {
 public:
  explicit HookedBackend(OperatorHooks hooks) : hooks_(std::move(hooks)) {}

  std::string_view name() const override { return "hooked"; }
  Mode mode() const override { return Mode::kInvariant; }
  bool UsesHostMemory() const override { return hooks_.device_bytes == 0; }
  DeviceMemory Memory() const override {
    if (UsesHostMemory()) return HostBackend::Memory();
    return {.total_bytes = hooks_.device_bytes, .free_bytes = hooks_.device_bytes - *used_};
  }
  Result<Buffer> Allocate(size_t bytes) const override {
    if (UsesHostMemory()) return HostBackend::Allocate(bytes);
    if (static_cast<int64_t>(bytes) > Memory().free_bytes) {
      return MakeError(ErrorCode::kResourceExhausted,
                       "device memory: expected {} free bytes, found {}", bytes,
                       Memory().free_bytes);
    }
    VX_ASSIGN_OR_RETURN(Buffer buffer, AllocateHost(bytes));
    std::byte* const data = buffer.data();
    return Buffer(data, bytes, new CountedBuffer(std::move(buffer), used_),
                  [](void* counted) { delete static_cast<CountedBuffer*>(counted); });
  }
  Result<LinearWeight> PackLinear(std::span<const Rows<const bf16>> parts) const override {
    return hooks_.linear ? PackLinearReference(StackRows(parts).rows) : cpu_->PackLinear(parts);
  }
  void Notify(Stream& /*s*/, void (*call)(void*, const char*), void* data) const override {
    call(data, hooks_.device_error ? hooks_.device_error() : nullptr);
  }
  bool CanCapture() const override { return static_cast<bool>(hooks_.capture); }
  Result<CapturedWork> Capture(Stream& /*s*/, FunctionRef<void()> /*work*/) const override {
    VX_RETURN_IF_ERROR(hooks_.capture());
    return CapturedWork();
  }
  void Replay(const CapturedWork& /*work*/, Stream& /*s*/) const override {}
  void Linear(const LinearArgs& a, Stream& s) const override {
    hooks_.linear ? hooks_.linear(a, s) : cpu_->Linear(a, s);
  }
  void RmsNorm(const RmsNormArgs& a, Stream& s) const override {
    hooks_.rms_norm ? hooks_.rms_norm(a, s) : cpu_->RmsNorm(a, s);
  }
  void ResidualNorm(const ResidualNormArgs& a, Stream& s) const override {
    hooks_.residual_norm ? hooks_.residual_norm(a, s) : cpu_->ResidualNorm(a, s);
  }
  void NormRopeWrite(const NormRopeWriteArgs& a, Stream& s) const override {
    hooks_.norm_rope_write ? hooks_.norm_rope_write(a, s) : cpu_->NormRopeWrite(a, s);
  }
  void SiluMul(const SiluMulArgs& a, Stream& s) const override {
    hooks_.silu_mul ? hooks_.silu_mul(a, s) : cpu_->SiluMul(a, s);
  }
  void Embedding(const EmbeddingArgs& a, Stream& s) const override {
    hooks_.embedding ? hooks_.embedding(a, s) : cpu_->Embedding(a, s);
  }
  void Attention(const AttentionArgs& a, Stream& s) const override {
    hooks_.attention ? hooks_.attention(a, s) : cpu_->Attention(a, s);
  }
  void MoeRoute(const MoeRouteArgs& a, Stream& s) const override {
    hooks_.moe_route ? hooks_.moe_route(a, s) : cpu_->MoeRoute(a, s);
  }
  void MoeCombine(const MoeCombineArgs& a, Stream& s) const override {
    hooks_.moe_combine ? hooks_.moe_combine(a, s) : cpu_->MoeCombine(a, s);
  }
  void SumLogits(const SumLogitsArgs& a, Stream& s) const override {
    hooks_.sum_logits ? hooks_.sum_logits(a, s) : cpu_->SumLogits(a, s);
  }
  void Logprob(const LogprobArgs& a, Stream& s) const override {
    hooks_.logprob ? hooks_.logprob(a, s) : cpu_->Logprob(a, s);
  }
  Status Sample(const SampleArgs& a, Stream& s) const override {
    if (!hooks_.sample) return cpu_->Sample(a, s);
    hooks_.sample(a, s);
    return {};
  }

 private:
  OperatorHooks hooks_;
  std::unique_ptr<Backend> cpu_ = MakeCpuBackend(kTarget);
  std::shared_ptr<std::atomic<int64_t>> used_ = std::make_shared<std::atomic<int64_t>>(0);
};

void Flip(bf16& word) { word.bits ^= 1; }
void Flip(float& word) { word = FloatFromWord(WordFromFloat(word) ^ 1u); }
void Flip(int32_t& word) { word ^= 1; }
template <typename T>
void FlipLast(Rows<T> rows) {
  Flip(rows[rows.rows - 1][rows.cols - 1]);
}

std::vector<float> LinearRow(const LinearArgs& args, int64_t t,
                             const std::function<float(const bf16*, const bf16*, int64_t)>& dot) {
  const LinearWeight& w = *args.weight;
  std::vector<float> row;
  for (int64_t o = 0; o < w.out_features; ++o) {
    row.push_back(dot(args.x[t], w.storage.as<bf16>() + o * w.in_features, w.in_features));
    if (args.bias != nullptr) row.back() += FloatFromBf16(args.bias[o]);
  }
  return row;
}

FaultyBackend LinearOf(std::string fault,
                       std::function<float(const bf16*, const bf16*, int64_t)> dot) {
  const auto linear = [dot = std::move(dot)](const LinearArgs& args, Stream& s) {
    s.pool->ParallelFor(args.x.rows, [&](int64_t t) {
      const std::vector<float> row = LinearRow(args, t, dot);
      for (size_t o = 0; o < row.size(); ++o) {
        if (args.y.data != nullptr) {
          args.y[t][o] = Bf16FromFloat(row[o]);
        } else {
          args.y_fp32[t][o] = row[o];
        }
      }
    });
  };
  return {"linear", std::move(fault), MakeHookedBackend({.linear = linear})};
}

float StepsOf8(const bf16* x, const bf16* w, int64_t count) {
  float sum = 0.0f;
  for (int64_t i = 0; i < count; i += 8) {
    bf16 a[kDotGroup] = {};
    bf16 b[kDotGroup] = {};
    std::copy_n(x + i, std::min<int64_t>(8, count - i), a);
    std::copy_n(w + i, std::min<int64_t>(8, count - i), b);
    sum = Dot16(sum, a, b);
  }
  return sum;
}

float FusedSums(const bf16* x, const bf16* w, int64_t count) {
  float sum = 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    sum = std::fma(FloatFromBf16(x[i]), FloatFromBf16(w[i]), sum);
  }
  return sum;
}

float SplitOfK(const bf16* x, const bf16* w, int64_t count) {
  const int64_t half = count / 32 * 16;
  return Chain(x, w, half) + Chain(x + half, w + half, count - half);
}

float SubnormalsAsZero(const bf16* x, const bf16* w, int64_t count) {
  std::vector<bf16> flushed(x, x + count);
  for (bf16& value : flushed) {
    if ((value.bits & 0x7f80) == 0) value.bits &= 0x8000;
  }
  return Chain(flushed.data(), w, count);
}

void RmsNormRoundedTwice(const RmsNormArgs& args, Stream& s) {
  RmsNormCpu(kTarget, args, s);  // sums in another order are not this fault
  if (args.group != 128 || args.x.cols != 128) return;
  for (int64_t t = 0; t < args.x.rows; ++t) {
    const float first = FloatFromBf16(args.x[t][0]);
    float sum = first * first;
    for (int64_t i = 1; i < 8; ++i) {
      sum = std::fma(FloatFromBf16(args.x[t][i]), FloatFromBf16(args.x[t][i]), sum);
    }
    const float root = 1.0f / std::sqrt(sum / 128.0f + args.eps);
    for (int64_t i = 0; i < 128; ++i) {
      args.y[t][i] = Bf16FromFloat(FloatFromBf16(args.x[t][i]) * root);
    }
  }
}

void ResidualTruncated(const ResidualNormArgs& args, Stream& s) {
  const Rows<bf16>& hidden = args.hidden;
  for (int64_t t = 0; t < hidden.rows; ++t) {
    for (int64_t i = 0; i < hidden.cols; ++i) {
      const float sum = FloatFromBf16(hidden[t][i]) + FloatFromBf16(args.branch[t][i]);
      hidden[t][i] = bf16{static_cast<uint16_t>(WordFromFloat(sum) >> 16)};
    }
  }
  RmsNormCpu(kTarget, {hidden, args.weight, hidden.cols, args.eps, args.normed}, s);
}

// Columns past the end of each row, where the row is narrower than its place.
void ResidualPastTheEnd(const ResidualNormArgs& args, Stream& s) {
  ResidualNormCpu(kTarget, args, s);
  Flip(args.hidden[args.hidden.rows - 1][args.hidden.cols]);
}

void RotateRoundedOnce(const RopeArgs& args) {
  const int64_t half = args.table.half;
  for (int64_t t = 0; t < args.x.rows; ++t) {
    const bf16* const cos = args.table.cos + args.positions[t] * half;
    const bf16* const sin = args.table.sin + args.positions[t] * half;
    for (int64_t c = 0; c < args.x.cols; ++c) {
      const int64_t i = c % args.head_dim;
      if (i >= half) continue;
      bf16& low = args.x[t][c];
      bf16& high = args.x[t][c + half];
      const float a = FloatFromBf16(low);
      const float b = FloatFromBf16(high);
      low = Bf16FromFloat(a * FloatFromBf16(cos[i]) - b * FloatFromBf16(sin[i]));
      high = Bf16FromFloat(b * FloatFromBf16(cos[i]) + a * FloatFromBf16(sin[i]));
    }
  }
}

void RunNorms(const NormRopeWriteSteps& steps, Stream& s) {
  for (const RmsNormArgs& norm : {steps.q_norm, steps.k_norm}) {
    if (norm.weight != nullptr) RmsNormCpu(kTarget, norm, s);
  }
}

void RopeThenNorm(const NormRopeWriteArgs& args, Stream& s) {
  const NormRopeWriteSteps steps = StepsOf(args);
  RopeCpu(kTarget, steps.rope, s);
  RunNorms(steps, s);
  KvWriteCpu(steps.write, s);
}

void RopeRoundedOnce(const NormRopeWriteArgs& args, Stream& s) {
  const NormRopeWriteSteps steps = StepsOf(args);
  RunNorms(steps, s);
  RotateRoundedOnce(steps.rope);
  KvWriteCpu(steps.write, s);
}

// (Another exponential would be no fault: the gate is a bf16, and over all 65,536 of them libm's
// gives the same bf16 in the end.)
void SiluMulRoundedOnce(const SiluMulArgs& args, Stream&) {
  for (int64_t t = 0; t < args.gate.rows; ++t) {
    for (int64_t i = 0; i < args.gate.cols; ++i) {
      const float g = FloatFromBf16(args.gate[t][i]);
      const float silu = g / (1.0f + Ex2(-g * kLog2E));
      args.y[t][i] = Bf16FromFloat(silu * FloatFromBf16(args.up[t][i]));
    }
  }
}

void EmbeddingOfIdsAlone(const EmbeddingArgs& args, Stream& s) {
  EmbeddingArgs without = args;
  without.slots = nullptr;
  EmbeddingCpu(without, s);
}

// A faulty row keeps what it has: the flag is set, the zeros are not written.
void WriteOfFaults(const NormRopeWriteArgs& args, Stream& s) {
  NormRopeWriteCpu(kTarget, args, s);
  const Rows<const bf16> k = StepsOf(args).write.k;
  for (int64_t t = 0; t < k.rows; ++t) {
    if (args.row_faults[t] == 0 || args.slots[t] < 0) continue;
    const int64_t at = args.slots[t] % args.kv.block_size * args.kv.head_dim;
    args.kv.Keys(args.slots[t] / args.kv.block_size, 0)[at] = k[t][0];
  }
}

void AttentionInSegmentsOf512(const AttentionArgs& args, Stream& s) {
  AttentionCpu(kTarget, args, s);
  const PagedSequences& all = args.sequences;
  for (int64_t n = 0; n < all.count; ++n) {
    if (all.query_start[n + 1] - all.query_start[n] != 1) continue;
    const AttentionRow row{n, all.query_start[n], all.context_len[n] - 1, 0};
    std::vector<float> y(static_cast<size_t>(args.kv.head_dim));
    AttentionRowReference(args, row, 512, y.data());
    for (size_t d = 0; d < y.size(); ++d) args.y[row.row][d] = Bf16FromFloat(y[d]);
  }
}

void RouteTiesToTheHigherExpert(const MoeRouteArgs& args, Stream& s) {
  std::vector<float> scores;
  for (int64_t t = 0; t < args.scores.rows; ++t) {
    for (int64_t e = 0; e < args.scores.cols; ++e) {
      scores.push_back(args.scores[t][args.scores.cols - 1 - e]);
    }
  }
  MoeRouteArgs backwards = args;
  backwards.scores = {scores.data(), args.scores.rows, args.scores.cols};
  MoeRouteCpu(kTarget, backwards, s);
  for (int64_t t = 0; t < args.ids.rows; ++t) {
    for (int64_t j = 0; j < args.ids.cols; ++j) {
      args.ids[t][j] = static_cast<int32_t>(args.scores.cols) - 1 - args.ids[t][j];
    }
    std::reverse(args.ids[t], args.ids[t] + args.ids.cols);
    std::reverse(args.weights[t], args.weights[t] + args.ids.cols);
  }
}

void CombineWithoutFma(const MoeCombineArgs& args, Stream&) {
  const int64_t top_k = args.weights.cols;
  for (int64_t t = 0; t < args.y.rows; ++t) {
    for (int64_t c = 0; c < args.y.cols; ++c) {
      float y = 0.0f;
      for (int64_t j = 0; j < top_k; ++j) {
        const float product =
            args.weights[t][j] * FloatFromBf16(args.expert_rows[t * top_k + j][c]);
        y = y + product;
      }
      args.y[t][c] = Bf16FromFloat(y);
    }
  }
}

// Block sums of the library's 2^x in the place of ex2's.
void SumLogitsOfLibm(const SumLogitsArgs& args, Stream& s) {
  SumLogitsCpu(kTarget, args, s);
  for (int64_t r = 0; r < args.logits.rows; ++r) {
    for (int64_t b = 0; b < args.block_sums.cols; ++b) {
      if (args.sums[r].fault_id >= 0 || args.block_max[r][b] == kDropped) continue;
      const float m = std::ceil(args.block_max[r][b] * kLog2E);
      uint64_t sum = 0;
      for (int64_t i = b * kVocabBlock; i < std::min((b + 1) * kVocabBlock, args.logits.cols);
           ++i) {
        sum += static_cast<uint64_t>(0x1p44f * std::exp2(std::fma(args.logits[r][i], kLog2E, -m)));
      }
      args.block_sums[r][b] = sum;
    }
  }
}

void LogprobOfLibm(const LogprobArgs& args, Stream& s) {
  LogprobCpu(kTarget, args, s);
  for (int64_t q = 0; q < args.num_queries; ++q) {
    const LogprobQuery& query = args.queries[q];
    const LogitSums& sums = args.sums[query.row];
    const int32_t id = query.id < 0 ? args.drawn[query.row] : query.id;
    if (args.logits[query.row][id] == kDropped) continue;
    const double log_sum =
        std::log(static_cast<double>(sums.sum) * 0x1p-44) + sums.exponent * std::log(2.0);
    args.answers[q].logprob = std::min(
        0.0f, static_cast<float>(static_cast<double>(args.logits[query.row][id]) - log_sum));
  }
}

// Calls of Sample with changed parameters.
FaultyBackend SampleWith(std::string fault, std::function<void(SampleRow&)> change) {
  const auto sample = [change = std::move(change)](const SampleArgs& args, Stream& s) {
    std::vector<SampleRow> rows(args.rows, args.rows + args.num_rows);
    for (SampleRow& row : rows) change(row);
    SampleArgs changed = args;
    changed.rows = rows.data();
    SampleCpu(kTarget, changed, s);
  };
  return {"sample", std::move(fault), MakeHookedBackend({.sample = sample})};
}

// A hook that runs the operator and then `after`.
template <typename Args, typename Run, typename After>
OperatorHook<Args> Then(Run run, After after) {
  return [run, after](const Args& args, Stream& s) {
    run(args, s);
    after(args);
  };
}

// The same for operators that have one function a CPU target.
template <typename Args, typename After>
OperatorHook<Args> OnCpu(void (*run)(CpuTarget, const Args&, Stream&), After after) {
  return Then<Args>([run](const Args& a, Stream& s) { run(kTarget, a, s); }, after);
}

}  // namespace

std::unique_ptr<Backend> MakeHookedBackend(OperatorHooks hooks) {
  return std::make_unique<HookedBackend>(std::move(hooks));
}

std::vector<FaultyBackend> BackendsWithAFlippedBit() {
  std::vector<FaultyBackend> all;
  const auto add = [&all](std::string op, OperatorHooks hooks) {
    all.push_back({std::move(op), "a flipped bit", MakeHookedBackend(std::move(hooks))});
  };
  const auto flip_y = [](const auto& a) { FlipLast(a.y); };
  add("linear", {.linear = Then<LinearArgs>(LinearReference, [](const LinearArgs& a) {
                   a.y.data != nullptr ? FlipLast(a.y) : FlipLast(a.y_fp32);
                 })});
  add("rms_norm", {.rms_norm = OnCpu(RmsNormCpu, flip_y)});
  add("residual_norm", {.residual_norm = OnCpu(ResidualNormCpu, [](const ResidualNormArgs& a) {
                          FlipLast(a.hidden);
                        })});
  add("norm_rope_write",
      {.norm_rope_write = OnCpu(NormRopeWriteCpu, [](const NormRopeWriteArgs& a) {
         Flip(a.kv.Values(a.slots[0] / a.kv.block_size, 0)[0]);
       })});
  add("silu_mul", {.silu_mul = OnCpu(SiluMulCpu, flip_y)});
  add("embedding", {.embedding = Then<EmbeddingArgs>(EmbeddingCpu, flip_y)});
  add("attention", {.attention = OnCpu(AttentionCpu, flip_y)});
  add("moe_route",
      {.moe_route = OnCpu(MoeRouteCpu, [](const MoeRouteArgs& a) { FlipLast(a.weights); })});
  add("moe_combine", {.moe_combine = OnCpu(MoeCombineCpu, flip_y)});
  add("sum_logits", {.sum_logits = OnCpu(SumLogitsCpu, [](const SumLogitsArgs& a) {
                       Flip(a.sums[a.logits.rows - 1].argmax);
                     })});
  add("logprob", {.logprob = OnCpu(LogprobCpu, [](const LogprobArgs& a) {
                    Flip(a.answers[a.num_queries - 1].logprob);
                  })});
  add("sample", {.sample = OnCpu(SampleCpu, [](const SampleArgs& a) {
                   Flip(a.outcomes[a.num_rows - 1].token);
                 })});
  return all;
}

std::vector<FaultyBackend> BackendsWithAnotherArithmetic() {
  std::vector<FaultyBackend> all = {
      LinearOf("steps of 8", StepsOf8),
      LinearOf("one fma a product", FusedSums),
      LinearOf("K in two parts", SplitOfK),
      LinearOf("subnormals as zero", SubnormalsAsZero),
      SampleWith("half of the seed", [](SampleRow& row) { row.seed &= 0xffffffffu; }),
      SampleWith("a looser top_p",
                 [](SampleRow& row) { row.top_p += row.top_p < kTopPOff ? 0x1000000 : 0; }),
      SampleWith("one candidate more", [](SampleRow& row) { row.top_k += row.top_k > 0 ? 1 : 0; }),
      SampleWith("no min_p", [](SampleRow& row) { row.log_min_p = kDropped; }),
      SampleWith("no presence penalty", [](SampleRow& row) { row.presence = 0.0f; })};
  const auto add = [&all](std::string op, std::string fault, OperatorHooks hooks) {
    all.push_back({std::move(op), std::move(fault), MakeHookedBackend(std::move(hooks))});
  };
  add("rms_norm", "a root rounded twice", {.rms_norm = RmsNormRoundedTwice});
  add("residual_norm", "sums truncated", {.residual_norm = ResidualTruncated});
  add("residual_norm", "writes past its rows", {.residual_norm = ResidualPastTheEnd});
  add("norm_rope_write", "rope before the norms", {.norm_rope_write = RopeThenNorm});
  add("norm_rope_write", "products not rounded", {.norm_rope_write = RopeRoundedOnce});
  add("norm_rope_write", "keeps faults", {.norm_rope_write = WriteOfFaults});
  add("silu_mul", "silu not rounded", {.silu_mul = SiluMulRoundedOnce});
  add("embedding", "ids alone", {.embedding = EmbeddingOfIdsAlone});
  add("attention", "segments of 512", {.attention = AttentionInSegmentsOf512});
  add("moe_route", "ties to the higher expert", {.moe_route = RouteTiesToTheHigherExpert});
  add("moe_combine", "no fma", {.moe_combine = CombineWithoutFma});
  add("sum_logits", "another exp2", {.sum_logits = SumLogitsOfLibm});
  add("logprob", "another logarithm", {.logprob = LogprobOfLibm});
  return all;
}

}  // namespace vexact
