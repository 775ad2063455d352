// The operators of Qwen3-1.7B and SmolLM2-135M at their shapes, and of a mixture of experts.
#include <algorithm>

#include "kernels/self_check/check_attention.h"
#include "kernels/self_check/check_logits.h"
#include "kernels/self_check/digests.h"

namespace vexact {
namespace {

struct DigestModel {
  const char* name;
  int64_t hidden;
  int64_t intermediate;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t vocab;
  float eps;
  double theta;
  bool qk_norms;
};
constexpr DigestModel kModels[] = {
    {"Qwen3-1.7B", 2048, 6144, 16, 8, 128, 151936, 1e-6f, 1e6, true},
    {"SmolLM2-135M", 576, 1536, 9, 3, 64, 49152, 1e-5f, 1e5, false},
};
// Of Qwen3-30B-A3B.
constexpr int64_t kExperts = 128;
constexpr int64_t kTopK = 8;
constexpr int64_t kMoeHidden = 2048;

constexpr CheckInput kX{.tag = 61, .values = CheckValues::kSpread};
constexpr CheckInput kOther{.tag = 62, .values = CheckValues::kSpread};

using Cases = std::vector<DigestCase>;
// Rows [begin, end) of an operator that is not linear.
using RunRows = std::function<Status(OperatorCall&, int64_t begin, int64_t end)>;

void Add(Cases& cases, std::string name, RunRows run) {
  cases.push_back(
      {.name = std::move(name),
       .run = [run = std::move(run)](OperatorCall& call, const LinearWeight*, int64_t begin,
                                     int64_t end) { return run(call, begin, end); }});
}

void AddLinear(Cases& cases, const DigestModel& model, const char* layer, LinearProblem problem) {
  cases.push_back(
      {.name = fmt::format("linear {} of {}, {} -> {}{}", layer, model.name, problem.in_features,
                           problem.out_features, problem.fp32_output ? " fp32" : ""),
       .problem = problem,
       .run = [problem](OperatorCall& call, const LinearWeight* weight, int64_t begin,
                        int64_t end) -> Status {
         LinearArgs args{.x = call.InRows(kX, begin, end, problem.in_features), .weight = weight};
         if (problem.fp32_output) {
           args.y_fp32 = call.Out<float>("y", end - begin, problem.out_features);
         } else {
           args.y = call.Out<bf16>("y", end - begin, problem.out_features);
         }
         call.backend().Linear(args, call.stream());
         return {};
       }});
}

void AddLinears(Cases& cases, const DigestModel& m) {
  const int64_t q = m.heads * m.head_dim;
  const int64_t qkv = q + 2 * m.kv_heads * m.head_dim;
  AddLinear(cases, m, "qkv", {qkv, m.hidden});
  AddLinear(cases, m, "o", {m.hidden, q});
  AddLinear(cases, m, "gate_up", {2 * m.intermediate, m.hidden});
  AddLinear(cases, m, "down", {m.hidden, m.intermediate});
  AddLinear(cases, m, "lm_head", {m.vocab, m.hidden, false, true});
}

void AddRmsNorm(Cases& cases, const DigestModel& m) {
  Add(cases, fmt::format("rms_norm of {}, 1 x {}", m.name, m.hidden),
      [=](OperatorCall& call, int64_t begin, int64_t end) -> Status {
        call.backend().RmsNorm({.x = call.InRows(kX, begin, end, m.hidden),
                                .weight = call.InRows(kOther, 0, 1, m.hidden).data,
                                .group = m.hidden,
                                .eps = m.eps,
                                .y = call.Out<bf16>("y", end - begin, m.hidden)},
                               call.stream());
        return {};
      });
}

void AddResidualNorm(Cases& cases, const DigestModel& m) {
  Add(cases, fmt::format("residual_norm of {}, {}", m.name, m.hidden),
      [=](OperatorCall& call, int64_t begin, int64_t end) -> Status {
        const int64_t rows = end - begin;
        const auto hidden = MakeRows<bf16>(kX, begin, end, m.hidden, *call.stream().pool);
        call.backend().ResidualNorm(
            {.hidden = call.Out<bf16>("hidden", rows, m.hidden, m.hidden, hidden),
             .branch = call.InRows(kOther, begin, end, m.hidden),
             .weight = call.InRows(kOther, 0, 1, m.hidden).data,
             .eps = m.eps,
             .normed = call.Out<bf16>("normed", rows, m.hidden)},
            call.stream());
        return {};
      });
}

// Every row has a block of its own; each hundredth holds an infinity in K.
void AddNormRopeWrite(Cases& cases, const DigestModel& m) {
  Add(cases,
      fmt::format("norm_rope_write of {}, {} / {} x {}", m.name, m.heads, m.kv_heads, m.head_dim),
      [=](OperatorCall& call, int64_t begin, int64_t end) -> Status {
        constexpr int64_t kPositions = 8192;
        constexpr int64_t kBlockSize = 16;
        const RopeTable table = BuildRopeTable(
            {.theta = m.theta, .rotary_dim = static_cast<int32_t>(m.head_dim)}, kPositions);
        RopeView view = table.view();
        view.cos = call.In(table.cos);
        view.sin = call.In(table.sin);
        const int64_t rows = end - begin;
        const int64_t cols = (m.heads + 2 * m.kv_heads) * m.head_dim;
        auto qkv = MakeRows<bf16>(kX, begin, end, cols, *call.stream().pool);
        std::vector<int32_t> positions;
        std::vector<int32_t> slots;
        for (int64_t r = 0; r < rows; ++r) {
          positions.push_back(static_cast<int32_t>(CheckWord(63, begin + r, 0) % kPositions));
          slots.push_back(static_cast<int32_t>(r * kBlockSize + (begin + r) % kBlockSize));
          if ((begin + r) % 100 != 50) continue;
          qkv[static_cast<size_t>(r * cols + m.heads * m.head_dim + 5)] = bf16{0xff80};
        }
        const int64_t block_elements = 2 * kBlockSize * m.kv_heads * m.head_dim;
        const std::vector<bf16> zeros(static_cast<size_t>(rows * block_elements));
        const Rows<bf16> pool = call.Out("pool", rows, block_elements, block_elements, zeros);
        const auto faults =
            call.Out("row_faults", rows, 1, 1, std::vector<uint8_t>(static_cast<size_t>(rows)));
        const bf16* const norm = call.InRows(kOther, 0, 1, m.head_dim).data;
        call.backend().NormRopeWrite({.qkv = call.Out<bf16>("qkv", rows, cols, cols, qkv),
                                      .num_heads = m.heads,
                                      .q_norm = m.qk_norms ? norm : nullptr,
                                      .k_norm = m.qk_norms ? norm : nullptr,
                                      .eps = m.eps,
                                      .positions = call.In(std::move(positions)),
                                      .table = view,
                                      .slots = call.In(std::move(slots)),
                                      .kv = {.pool = pool.data,
                                             .num_blocks = rows,
                                             .block_size = kBlockSize,
                                             .num_kv_heads = m.kv_heads,
                                             .head_dim = m.head_dim,
                                             .block_stride = block_elements},
                                      .row_faults = faults.data},
                                     call.stream());
        return {};
      });
}

void AddElementwise(Cases& cases, const DigestModel& m) {
  Add(cases, fmt::format("silu_mul of {}, {}", m.name, m.intermediate),
      [=](OperatorCall& call, int64_t begin, int64_t end) -> Status {
        const Rows<const bf16> both = call.InRows(kX, begin, end, 2 * m.intermediate);
        call.backend().SiluMul({.gate = both.Columns(0, m.intermediate),
                                .up = both.Columns(m.intermediate, 2 * m.intermediate),
                                .y = call.Out<bf16>("y", end - begin, m.intermediate)},
                               call.stream());
        return {};
      });
  Add(cases, fmt::format("embedding of {}, {}", m.name, m.hidden),
      [=](OperatorCall& call, int64_t begin, int64_t end) -> Status {
        constexpr int64_t kVocab = 4096;  // of the table: a copy knows no more
        std::vector<int32_t> ids;
        for (int64_t r = begin; r < end; ++r) {
          ids.push_back(static_cast<int32_t>(CheckWord(64, r, 0) % kVocab));
        }
        call.backend().Embedding({.table = call.InRows(kX, 0, kVocab, m.hidden),
                                  .ids = call.In(std::move(ids)),
                                  .y = call.Out<bf16>("y", end - begin, m.hidden)},
                                 call.stream());
        return {};
      });
}

// How the rows of a step belong to sequences.
struct RowShape {
  const char* name;
  int64_t (*rows)(int64_t id);    // query rows of a sequence
  int64_t (*cached)(int64_t id);  // positions before them
};
constexpr RowShape kRowShapes[] = {
    {"prompt", [](int64_t) { return kDigestRows[std::size(kDigestRows) - 1]; },
     [](int64_t) { return int64_t{0}; }},
    {"decode", [](int64_t) { return int64_t{1}; },
     [](int64_t id) { return id % 64 == 5 ? int64_t{1500} : int64_t{CheckWord(65, id, 0) % 384}; }},
    {"mixed",
     [](int64_t id) { return id % 3 == 0 ? int64_t{1} : 1 + int64_t{CheckWord(66, id, 0) % 70}; },
     [](int64_t id) { return int64_t{CheckWord(66, id, 1) % 300}; }},
};

std::vector<CheckedSequence> SequencesOf(const RowShape& shape, int64_t begin, int64_t end) {
  std::vector<CheckedSequence> sequences;
  int64_t first = 0;  // row of the sequence
  for (int64_t id = 0; first < end; ++id) {
    const int64_t from = std::max(begin, first);
    const int64_t to = std::min(end, first + shape.rows(id));
    if (from < to) sequences.push_back({id, shape.cached(id) + (to - first), to - from});
    first += shape.rows(id);
  }
  return sequences;
}

void AddAttention(Cases& cases, const DigestModel& m) {
  for (const RowShape& shape : kRowShapes) {
    Add(cases,
        fmt::format("attention of {}, {}, heads {} / {} of {}", m.name, shape.name, m.heads,
                    m.kv_heads, m.head_dim),
        [=](OperatorCall& call, int64_t begin, int64_t end) {
          return RunCheckedAttention(call, {m.heads, m.kv_heads, m.head_dim, 16},
                                     SequencesOf(shape, begin, end));
        });
  }
}

void AddLogits(Cases& cases, const DigestModel& m) {
  const auto add = [&](const char* op, auto run) {
    Add(cases, fmt::format("{} of {}, {}", op, m.name, m.vocab),
        [=](OperatorCall& call, int64_t begin, int64_t end) {
          return run(call, CheckedLogits{begin, end, m.vocab});
        });
  };
  add("sum_logits", RunCheckedSums);
  add("logprob", RunCheckedLogprobs);
  add("sample", RunCheckedSamples);
}

void AddMoe(Cases& cases) {
  Add(cases, fmt::format("moe_route, {} of {} experts", kTopK, kExperts),
      [](OperatorCall& call, int64_t begin, int64_t end) -> Status {
        const CheckInput scores{.tag = 67, .values = CheckValues::kUniform, .scale = 8.0f};
        call.backend().MoeRoute({.scores = call.InRows<float>(scores, begin, end, kExperts),
                                 .norm_topk_prob = true,
                                 .ids = call.Out<int32_t>("ids", end - begin, kTopK),
                                 .weights = call.Out<float>("weights", end - begin, kTopK)},
                                call.stream());
        return {};
      });
  Add(cases, fmt::format("moe_combine, {} experts, {}", kTopK, kMoeHidden),
      [](OperatorCall& call, int64_t begin, int64_t end) -> Status {
        const CheckInput weights{.tag = 68, .values = CheckValues::kUniform, .scale = 1.0f};
        call.backend().MoeCombine(
            {.expert_rows = call.InRows(kX, begin * kTopK, end * kTopK, kMoeHidden),
             .weights = call.InRows<float>(weights, begin, end, kTopK),
             .y = call.Out<bf16>("y", end - begin, kMoeHidden)},
            call.stream());
        return {};
      });
}

}  // namespace

std::vector<DigestCase> DigestCases() {
  Cases cases;
  for (const DigestModel& model : kModels) {
    AddLinears(cases, model);
    AddRmsNorm(cases, model);
    AddResidualNorm(cases, model);
    AddNormRopeWrite(cases, model);
    AddElementwise(cases, model);
    AddAttention(cases, model);
    AddLogits(cases, model);
  }
  AddMoe(cases);
  return cases;
}

}  // namespace vexact
