#include "support/staged_backend.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "kernels/host_backend.h"

namespace vexact {
namespace {

constexpr size_t kArenaBytes = size_t{1} << 30;

// One operator's call: its arguments on the device.
class Call {
 public:
  Call(const Backend& device, const Buffer& arena, Stream& stream)
      : device_(device), arena_(arena), stream_(stream) {}

  // The device's copy of host[0, count), at the same offset from a multiple of 64 bytes. A range
  // inside an earlier one is the same memory there, as it is on the host.
  template <typename T>
  T* In(const T* host, int64_t count) {
    if (host == nullptr || count <= 0) return nullptr;
    const auto* const bytes = reinterpret_cast<const std::byte*>(host);
    const size_t size = static_cast<size_t>(count) * sizeof(T);
    for (const Range& range : ranges_) {
      if (bytes >= range.host && bytes + size <= range.host + range.size) {
        return reinterpret_cast<T*>(range.device + (bytes - range.host));
      }
    }
    const size_t misalignment = std::bit_cast<uintptr_t>(host) % 64;
    used_ = (used_ + 255) / 256 * 256 + misalignment;
    VX_CHECK(used_ + size <= arena_.bytes(), "a test's arguments fit into the arena");
    std::byte* const at = arena_.data() + used_;
    used_ += size;
    device_.Upload(at, host, size, stream_);
    ranges_.push_back({bytes, at, size});
    return reinterpret_cast<T*>(at);
  }
  template <typename T>
  Rows<T> In(Rows<T> host) {
    host.data = In(host.data, Extent(host));
    return host;
  }
  // The same, copied back by Finish.
  template <typename T>
  T* Out(T* host, int64_t count) {
    T* const at = In(host, count);
    if (at != nullptr) outputs_.push_back(ranges_.size() - 1);
    return at;
  }
  template <typename T>
  Rows<T> Out(Rows<T> host) {
    host.data = Out(host.data, Extent(host));
    return host;
  }

  void Finish() {
    for (const size_t i : outputs_) {
      const Range& range = ranges_[i];
      device_.Download(const_cast<std::byte*>(range.host), range.device, range.size, stream_);
    }
    const Status status = device_.Synchronize(stream_);
    VX_CHECK(status.ok(), status.ok() ? "" : status.error().message);
  }

 private:
  struct Range {
    const std::byte* host;
    std::byte* device;
    size_t size;
  };

  template <typename T>
  static int64_t Extent(const Rows<T>& rows) {
    return rows.rows == 0 ? 0 : (rows.rows - 1) * rows.stride + rows.cols;
  }

  const Backend& device_;
  const Buffer& arena_;
  Stream& stream_;
  size_t used_ = 0;
  std::vector<Range> ranges_;
  std::vector<size_t> outputs_;  // indices in ranges_
};

PagedKv KvOnDevice(PagedKv kv, Call& call) {
  kv.pool = call.Out(kv.pool, kv.num_blocks * kv.block_stride);
  return kv;
}

class StagedBackend final : public HostBackend {
 public:
  explicit StagedBackend(std::shared_ptr<const Backend> device)
      : device_(std::move(device)),
        arena_(device_->Allocate(kArenaBytes).value()),
        stream_(device_->MakeStream(nullptr).value()) {}

  std::string_view name() const override { return device_->name(); }
  Mode mode() const override { return device_->mode(); }

  Result<LinearWeight> PackLinear(std::span<const Rows<const bf16>> parts) const override {
    VX_ASSIGN_OR_RETURN(LinearWeight weight, device_->PackLinear(parts));
    device_rows_[weight.storage.data()] = weight.rows;
    weight.rows = {};  // nothing that the host could read
    return weight;
  }

  Result<AttentionPlan> MakeAttentionPlan(const AttentionLimits& limits) const override {
    return device_->MakeAttentionPlan(limits);
  }

  void Linear(const LinearArgs& host, Stream&) const override {
    Run([&](Call& call, Stream& stream) {
      LinearArgs args = host;
      LinearWeight weight{host.weight->out_features, host.weight->in_features, Buffer(),
                          device_rows_.at(host.weight->storage.data())};
      args.weight = &weight;
      args.y = call.Out(host.y);
      args.y_fp32 = call.Out(host.y_fp32);
      args.x = call.In(host.x);
      args.bias = call.In(host.bias, weight.out_features);
      device_->Linear(args, stream);
    });
  }
  void RmsNorm(const RmsNormArgs& host, Stream&) const override {
    Run([&](Call& call, Stream& stream) {
      RmsNormArgs args = host;
      args.y = call.Out(host.y);
      args.x = call.In(host.x);
      args.weight = call.In(host.weight, host.group);
      device_->RmsNorm(args, stream);
    });
  }
  void ResidualNorm(const ResidualNormArgs& host, Stream&) const override {
    Run([&](Call& call, Stream& stream) {
      ResidualNormArgs args = host;
      args.hidden = call.Out(host.hidden);
      args.normed = call.Out(host.normed);
      args.branch = call.In(host.branch);
      args.weight = call.In(host.weight, host.hidden.cols);
      device_->ResidualNorm(args, stream);
    });
  }
  void NormRopeWrite(const NormRopeWriteArgs& host, Stream&) const override {
    Run([&](Call& call, Stream& stream) {
      NormRopeWriteArgs args = host;
      args.qkv = call.Out(host.qkv);
      args.kv = KvOnDevice(host.kv, call);
      args.row_faults = call.Out(host.row_faults, host.qkv.rows);
      args.q_norm = call.In(host.q_norm, host.kv.head_dim);
      args.k_norm = call.In(host.k_norm, host.kv.head_dim);
      args.positions = call.In(host.positions, host.qkv.rows);
      args.slots = call.In(host.slots, host.qkv.rows);
      const int64_t entries = host.table.max_positions * host.table.half;
      args.table.cos = call.In(host.table.cos, entries);
      args.table.sin = call.In(host.table.sin, entries);
      device_->NormRopeWrite(args, stream);
    });
  }
  void SiluMul(const SiluMulArgs& host, Stream&) const override {
    Run([&](Call& call, Stream& stream) {
      SiluMulArgs args = host;
      args.y = call.Out(host.y);
      args.gate = call.In(host.gate);
      args.up = call.In(host.up);
      device_->SiluMul(args, stream);
    });
  }
  void Embedding(const EmbeddingArgs& host, Stream&) const override {
    Run([&](Call& call, Stream& stream) {
      EmbeddingArgs args = host;
      args.y = call.Out(host.y);
      args.table = call.In(host.table);
      args.ids = call.In(host.ids, host.y.rows);
      args.slots = call.In(host.slots, host.y.rows);
      int32_t num_slots = 0;
      for (int64_t t = 0; host.slots != nullptr && t < host.y.rows; ++t) {
        num_slots = std::max(num_slots, host.slots[t] + 1);
      }
      args.newest = call.In(host.newest, num_slots);
      device_->Embedding(args, stream);
    });
  }
  void Attention(const AttentionArgs& host, Stream&) const override {
    Run([&](Call& call, Stream& stream) {
      AttentionArgs args = host;
      args.y = call.Out(host.y);
      args.q = call.In(host.q);
      args.kv = KvOnDevice(host.kv, call);
      const PagedSequences& from = host.sequences;
      int64_t entries = 0;
      for (int64_t s = 0; s < from.count; ++s) {
        const int64_t blocks = (from.context_len[s] + host.kv.block_size - 1) / host.kv.block_size;
        entries = std::max(entries, from.block_table_start[s] + blocks);
      }
      args.sequences = {.count = from.count,
                        .query_start = call.In(from.query_start, from.count + 1),
                        .context_len = call.In(from.context_len, from.count),
                        .block_table_start = call.In(from.block_table_start, from.count),
                        .block_tables = call.In(from.block_tables, entries),
                        .max_rows = from.max_rows,
                        .mask = from.mask};
      args.sequences.mask.reach =
          call.In(from.mask.reach, HasReach(from.mask.kind) ? host.q.rows : 0);
      args.plan = &PlanFor(host);
      device_->PlanAttention(args.sequences, *args.plan, stream);
      device_->Attention(args, stream);
    });
  }
  void MoeRoute(const MoeRouteArgs& host, Stream&) const override {
    Run([&](Call& call, Stream& stream) {
      MoeRouteArgs args = host;
      args.ids = call.Out(host.ids);
      args.weights = call.Out(host.weights);
      args.scores = call.In(host.scores);
      device_->MoeRoute(args, stream);
    });
  }
  void MoeCombine(const MoeCombineArgs& host, Stream&) const override {
    Run([&](Call& call, Stream& stream) {
      MoeCombineArgs args = host;
      args.y = call.Out(host.y);
      args.expert_rows = call.In(host.expert_rows);
      args.weights = call.In(host.weights);
      device_->MoeCombine(args, stream);
    });
  }
  void SumLogits(const SumLogitsArgs& host, Stream&) const override {
    Run([&](Call& call, Stream& stream) {
      SumLogitsArgs args = host;
      args.sums = call.Out(host.sums, host.logits.rows);
      args.block_max = call.Out(host.block_max);
      args.block_sums = call.Out(host.block_sums);
      args.logits = call.In(host.logits);
      device_->SumLogits(args, stream);
    });
  }
  void Logprob(const LogprobArgs& host, Stream&) const override {
    Run([&](Call& call, Stream& stream) {
      LogprobArgs args = host;
      int64_t num_top = 0;
      for (int64_t q = 0; q < host.num_queries; ++q) {
        num_top = std::max(num_top, host.queries[q].top_offset + host.queries[q].num_top);
      }
      args.answers = call.Out(host.answers, host.num_queries);
      args.top_ids = call.Out(host.top_ids, num_top);
      args.top_logprobs = call.Out(host.top_logprobs, num_top);
      args.logits = call.In(host.logits);
      args.sums = call.In(host.sums, host.logits.rows);
      args.block_max = call.In(host.block_max);
      args.queries = call.In(host.queries, host.num_queries);
      args.drawn = call.In(host.drawn, host.logits.rows);
      device_->Logprob(args, stream);
    });
  }
  Status Sample(const SampleArgs& host, Stream&) const override {
    Status sampled;
    Run([&](Call& call, Stream& stream) {
      SampleArgs args = host;
      args.logits = call.Out(host.logits);
      args.sums = call.Out(host.sums, host.logits.rows);
      args.block_max = call.Out(host.block_max);
      args.block_sums = call.Out(host.block_sums);
      args.outcomes = call.Out(host.outcomes, host.num_rows);
      args.drawn = call.Out(host.drawn, host.logits.rows);
      std::vector<SampleRow> rows(host.rows, host.rows + host.num_rows);
      int32_t num_slots = 0;
      for (SampleRow& row : rows) {
        num_slots = std::max(num_slots, row.slot + 1);
        row.allowed = call.In(row.allowed, (host.logits.cols + 31) / 32);
        row.banned = call.In(row.banned, row.num_banned);
        int32_t num_word_ids = 0;
        for (int32_t n = 0; n < row.num_bad_words; ++n) {
          const BadWord& word = row.bad_words[n];
          num_word_ids = std::max(num_word_ids, word.begin + word.length);
        }
        row.bad_words = call.In(row.bad_words, row.num_bad_words);
        row.bad_word_ids = call.In(row.bad_word_ids, num_word_ids);
        row.bias = call.In(row.bias, row.num_bias);
        row.tokens = call.Out(row.tokens, row.num_prompt + row.num_output + 1);
      }
      args.newest_tokens = call.Out(host.newest_tokens, num_slots);
      args.failed_owners = call.Out(host.failed_owners, num_slots);
      args.rows = call.In(rows.data(), host.num_rows);
      sampled = device_->Sample(args, stream);
      const Status status = device_->Synchronize(stream);  // `rows` ends here
      VX_CHECK(status.ok(), status.ok() ? "" : status.error().message);
    });
    return sampled;
  }

 private:
  template <typename Operator>
  void Run(Operator op) const {
    const std::lock_guard lock(mutex_);
    Call call(*device_, arena_, stream_.stream);
    op(call, stream_.stream);
    call.Finish();
  }

  const AttentionPlan& PlanFor(const AttentionArgs& host) const {
    const auto bound = [](int64_t n) {
      return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(n, 64))));
    };
    const AttentionLimits limits{.max_tokens = bound(host.q.rows),
                                 .max_sequences = bound(host.sequences.count),
                                 .num_heads = host.num_heads,
                                 .num_kv_heads = host.kv.num_kv_heads,
                                 .head_dim = host.kv.head_dim};
    const auto key = std::tuple(limits.max_tokens, limits.max_sequences, limits.num_heads,
                                limits.num_kv_heads, limits.head_dim);
    const auto found = plans_.find(key);
    if (found != plans_.end()) return found->second;
    return plans_.emplace(key, device_->MakeAttentionPlan(limits).value()).first->second;
  }

  std::shared_ptr<const Backend> device_;
  Buffer arena_;
  mutable std::mutex mutex_;
  mutable OwnedStream stream_;
  mutable std::map<std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t>, AttentionPlan> plans_;
  mutable std::map<const std::byte*, Rows<const bf16>> device_rows_;  // by storage
};

}  // namespace

std::unique_ptr<Backend> MakeStagedBackend(std::shared_ptr<const Backend> device) {
  return std::make_unique<StagedBackend>(std::move(device));
}

}  // namespace vexact
