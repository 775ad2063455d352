// Stands alone on a GPU machine: `check` compares words with a plain device kernel and between
// schedules; `words` compares hundreds of millions of words between cuts of the same prompts into
// chunks and decode rows, on the device; `time` measures prefill and decode; `masks` is the part of
// `check` that is about masks, and their times beside the causal one's.
//
//   scripts/build cuda vexact_gpu_benches
//   build/cuda/attention_sm90_bench [all | check | words | time | masks] [fa | cute | cute-free]
//   [PART]
//
// PART: only loads whose name contains it are timed (`time cute "prefill of 8192"`). The portable
// kernels have the causal mask alone, and their free form no bits to compare: of it there is only
// `time`.
#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "kernels/attention/attention_problem_sm90.cuh"

namespace vexact {
namespace {

using Sequences = std::vector<AttentionSequence>;

constexpr double kBytesPerSecond = 4.8e12;
constexpr double kFlopPerSecond = 790e12;
constexpr AttentionShape kShapes[] = {{16, 8, 128}, {32, 4, 128}, {9, 3, 64}};

std::string NameOf(const ProblemMask& mask) {
  static constexpr const char* kNames[] = {"causal", "sliding-window", "prefix-lm", "document"};
  const std::string name = kNames[static_cast<int>(mask.kind)];
  return mask.kind == MaskKind::kCausal ? name : name + " " + std::to_string(mask.length);
}
// Ends within and at the edges of tiles and segments.
constexpr ProblemMask kMasks[] = {
    {MaskKind::kSlidingWindow, 1},   {MaskKind::kSlidingWindow, 100},
    {MaskKind::kSlidingWindow, 256}, {MaskKind::kSlidingWindow, 700},
    {MaskKind::kPrefixLm, 50},       {MaskKind::kPrefixLm, 600},
    {MaskKind::kDocument, 37},       {MaskKind::kDocument, 300},
};

int64_t CountDiffering(const std::vector<uint16_t>& a, const std::vector<uint16_t>& b) {
  int64_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

// Lengths at the edges of chunks, tiles and segments; decode rows and sequences without rows, and
// with prefill also short and long chunks, in one call.
Sequences EdgeSequences(bool prefill, int64_t group) {
  Sequences sequences;
  int i = 0;
  for (const int64_t context :
       {1,   2,   15,  16,  17,  31,  33,  63,  65,  127, 128, 129,  144,
        255, 256, 257, 383, 384, 385, 511, 512, 513, 640, 769, 1024, 1100}) {
    sequences.push_back({context, 1});
    const int64_t several[] = {2, 5, 16, 40, 0, 129};
    const int64_t tokens = std::min(context, several[i++ % 6]);
    sequences.push_back({context, prefill ? tokens : std::min(tokens, 16 / group)});
  }
  return sequences;
}

// `heads`: two KV heads of as many query heads each.
int64_t CheckAgainstPlain(const AttentionShape& heads, int64_t block_size,
                          const AttentionTarget& on) {
  const int64_t group = heads.heads / heads.kv_heads;
  int64_t all = 0;
  for (const bool with_prefill : {true, false}) {
    AttentionProblem problem(heads, EdgeSequences(with_prefill, group), block_size, 1, false, on);
    const auto plain = problem.PlainAnswer();
    const int64_t first = CountDiffering(problem.Answer(), plain);
    const int64_t again = CountDiffering(problem.Answer(), plain);  // counters are back
    const int64_t late = CountDiffering(problem.LateAnswer(), plain);
    problem.ExpectLongChunks();
    const int64_t mixed = CountDiffering(problem.Answer(), plain);
    std::printf(
        "head_dim %3d group %2d blocks of %d, %s, %s: %zu words, %lld %lld %lld %lld differ\n",
        static_cast<int>(heads.head_dim), static_cast<int>(group), static_cast<int>(block_size),
        NameOf(heads.mask).c_str(), with_prefill ? "mixed " : "decode", plain.size(),
        static_cast<long long>(first), static_cast<long long>(again), static_cast<long long>(late),
        static_cast<long long>(mixed));
    std::fflush(stdout);
    all += first + again + late + mixed;
  }
  return all;
}

// The last rows of a prefill, again as decode rows: alone (cut into segments), and many at once
// (whole).
int64_t CheckSchedules(const AttentionShape& shape, int64_t context, const AttentionTarget& on) {
  AttentionProblem prefill(shape, {{context, context}}, 16, 1, true, on);
  const auto wanted = prefill.Answer();
  const auto columns = static_cast<size_t>(shape.heads * shape.head_dim);
  int64_t differing = 0;
  int64_t words = 0;
  for (const int64_t copies : {1, 3, 2000}) {
    if (copies * context > 1100000) continue;
    AttentionProblem decode(shape, Sequences(copies, {context, 1}), 64, 1, true, on);
    decode.SetQueries(prefill.Query(context - 1));
    const auto y = decode.Answer();
    const uint16_t* last = wanted.data() + wanted.size() - columns;
    for (size_t i = 0; i < y.size(); ++i) differing += y[i] != last[i % columns];
    words += static_cast<int64_t>(y.size());
  }
  std::printf("schedules: heads %d/%d context %lld: %lld words, %lld differ\n",
              static_cast<int>(shape.heads), static_cast<int>(shape.kv_heads),
              static_cast<long long>(context), static_cast<long long>(words),
              static_cast<long long>(differing));
  return differing;
}

struct WordCount {
  int64_t words = 0;
  int64_t differing = 0;
};

// A prompt in one prefill, and all of its rows again as chunks of every size, all chunks of a size
// beside each other in one call. Chunks of one row are decode rows.
WordCount CompareCuts(const AttentionShape& shape, int64_t context, const AttentionTarget& on) {
  AttentionProblem prompt(shape, {{context, context}}, 16, 1, true, on);
  prompt.Run();
  WordCount count;
  const int64_t whole = shape.mask.kind == MaskKind::kPrefixLm ? shape.mask.length : 0;
  for (const int64_t chunk : {1, 2, 3, 16, 17, 64, 100, 128, 129, 256, 500, 1000}) {
    Sequences sequences;
    for (int64_t first = 0, tokens = 0; first < context; first += tokens) {
      tokens = std::min(first == 0 ? std::max(chunk, whole) : chunk, context - first);
      sequences.push_back({first + tokens, tokens});
    }
    AttentionProblem cut(shape, sequences, 64, 1, true, on);
    cut.SetQueriesOf(prompt);
    cut.Run();
    count.words += static_cast<int64_t>(cut.Elements());
    count.differing += static_cast<int64_t>(cut.CountDifferingFrom(prompt));
  }
  std::printf("cuts: heads %lld/%lld of %lld, %s, prompt of %lld: %lld words, %lld differ\n",
              static_cast<long long>(shape.heads), static_cast<long long>(shape.kv_heads),
              static_cast<long long>(shape.head_dim), NameOf(shape.mask).c_str(),
              static_cast<long long>(context), static_cast<long long>(count.words),
              static_cast<long long>(count.differing));
  std::fflush(stdout);
  return count;
}

int64_t CompareAllCuts(const AttentionTarget& on) {
  WordCount all;
  const auto add = [&](const AttentionShape& shape, int64_t context) {
    const WordCount count = CompareCuts(shape, context, on);
    all.words += count.words;
    all.differing += count.differing;
  };
  for (const AttentionShape& shape : kShapes) {
    for (const int64_t context : {300, 2048, 3000}) add(shape, context);
    if (!on.has_masks) continue;
    for (AttentionShape masked = shape; const ProblemMask& mask : kMasks) {
      masked.mask = mask;
      add(masked, 2048);
    }
  }
  std::printf("words: %lld words compared, %lld differ\n", static_cast<long long>(all.words),
              static_cast<long long>(all.differing));
  return all.differing;
}

int64_t CheckMasks(const AttentionTarget& on) {
  int64_t differing = 0;
  for (const ProblemMask& mask : kMasks) {
    for (const int64_t group : {1, 8}) {
      for (const int64_t head_dim : {16, 32, 64, 128}) {
        differing += CheckAgainstPlain({2 * group, 2, head_dim, mask}, 16, on);
      }
    }
    differing += CheckAgainstPlain({4, 2, 128, mask}, 64, on);
  }
  std::printf("masks: %lld differing words in all\n", static_cast<long long>(differing));
  return differing;
}

int64_t CheckAll(const AttentionTarget& on) {
  int64_t differing = 0;
  for (const int64_t group : {1, 2, 3, 4, 8, 16}) {
    for (const int64_t block_size : {16, 32, 64}) {
      differing += CheckAgainstPlain({2 * group, 2, 64}, block_size, on);
      differing += CheckAgainstPlain({2 * group, 2, 128}, block_size, on);
    }
  }
  for (const int64_t block_size : {16, 64}) {
    differing += CheckAgainstPlain({6, 2, 16}, block_size, on);
    differing += CheckAgainstPlain({14, 2, 32}, block_size, on);
  }
  if (on.has_masks) differing += CheckMasks(on);
  for (const int64_t context : {500, 1000, 3000, 8192}) {
    differing += CheckSchedules({16, 8, 128}, context, on);
    differing += CheckSchedules({32, 4, 128}, context, on);
  }
  std::printf("check: %lld differing words in all\n", static_cast<long long>(differing));
  return differing;
}

void Report(const std::string& name, const AttentionProblem& problem, double us) {
  const double bytes_floor = problem.KvBytes() / kBytesPerSecond * 1e6;
  const double flop_floor = problem.Flop() / kFlopPerSecond * 1e6;
  const double floor = std::max(bytes_floor, flop_floor);
  std::printf("%-52s floor %9.2f us | %9.2f us %3.0f %% | %.0f GB/s %.0f TFLOP/s\n", name.c_str(),
              floor, us, 100 * floor / us, problem.KvBytes() / us * 1e-3,
              problem.Flop() / us * 1e-6);
  std::fflush(stdout);
}

// What is timed, and which loads: those whose name contains `part`.
struct Timed {
  const AttentionTarget& on;
  std::string part;
};

// Microseconds; 0 if the load is not one of those.
double TimeProblem(const std::string& load, const AttentionShape& shape, Sequences sequences,
                   int64_t layers, const Timed& timed) {
  const std::string name = load + ", heads " + std::to_string(shape.heads) + "/" +
                           std::to_string(shape.kv_heads) + " of " + std::to_string(shape.head_dim);
  if (name.find(timed.part) == std::string::npos) return 0.0;
  AttentionProblem problem(shape, std::move(sequences), 16, layers, false, timed.on);
  const double us = problem.Microseconds();
  Report(name, problem, us);
  return us;
}

Sequences UniformSequences(int64_t count, int64_t least, int64_t most, unsigned seed) {
  Sequences sequences;
  std::mt19937 random(seed);
  for (int64_t s = 0; s < count; ++s) {
    sequences.push_back({least + static_cast<int64_t>(random() % (most - least + 1)), 1});
  }
  return sequences;
}

// Under masks that hide nothing the work is the causal mask's, and the ratio is what a mask costs;
// under the others it is what skipping brings.
void TimeMasks(const Timed& timed) {
  struct Load {
    std::string name;
    Sequences sequences;
    int64_t layers;
  };
  const Load loads[] = {{"prefill of 2048", {{2048, 2048}}, 4},
                        {"prefill of 8192", {{8192, 8192}}, 4},
                        {"decode of 8 x 500", Sequences(8, {500, 1}), 32},
                        {"decode of 64 x 1..1000", UniformSequences(64, 1, 1000, 4), 12},
                        {"decode of 8 x 8192", Sequences(8, {8192, 1}), 8}};
  constexpr int32_t kNothing = 1 << 20;
  constexpr ProblemMask kTimed[] = {
      {MaskKind::kSlidingWindow, kNothing}, {MaskKind::kPrefixLm, 1},
      {MaskKind::kDocument, kNothing},      {MaskKind::kSlidingWindow, 1024},
      {MaskKind::kPrefixLm, 1024},          {MaskKind::kDocument, 512}};
  for (const AttentionShape& shape : {kShapes[0], kShapes[2]}) {
    for (const Load& load : loads) {
      const double causal = TimeProblem(load.name, shape, load.sequences, load.layers, timed);
      for (AttentionShape masked = shape; const ProblemMask& mask : kTimed) {
        masked.mask = mask;
        const double us = TimeProblem(load.name + ", " + NameOf(mask), masked, load.sequences,
                                      load.layers, timed);
        if (causal > 0.0 && us > 0.0) {
          std::printf("  %.2f of the causal mask's time\n", us / causal);
        }
      }
    }
  }
}

void TimeAll(const Timed& timed) {
  for (const AttentionShape& shape : kShapes) {
    for (const int64_t tokens : {512, 2048, 8192, 32768}) {
      TimeProblem("prefill of " + std::to_string(tokens), shape, {{tokens, tokens}},
                  tokens > 8192 ? 1 : 4, timed);
    }
    TimeProblem("prefill of 2048 after 6144", shape, {{8192, 2048}}, 4, timed);
    TimeProblem("prefill of 64", shape, {{64, 64}}, 32, timed);
    TimeProblem("prefill of 10 x 205", shape, Sequences(10, {205, 205}), 32, timed);
    for (const int64_t count : {1, 8, 32, 64, 200, 512}) {
      const Sequences sequences = UniformSequences(count, 500, 1000, 3);
      // Together beyond the L2 cache.
      TimeProblem("decode of " + std::to_string(count) + " x 500..1000", shape, sequences,
                  count >= 64 ? 4 : 64 * 4 / count, timed);
    }
    TimeProblem("decode of 8 x 500", shape, Sequences(8, {500, 1}), 32, timed);
    const Sequences uniform = UniformSequences(64, 1, 1000, 4);
    TimeProblem("decode of 64 x 1..1000", shape, uniform, 12, timed);
    TimeProblem("decode of 1 x 3000", shape, {{3000, 1}}, 32, timed);
    TimeProblem("decode of 1 x 32768", shape, {{32768, 1}}, 4, timed);
    Sequences mixed = uniform;
    mixed.push_back({1024, 1024});
    TimeProblem("64 x 1..1000 and a prefill of 1024", shape, mixed, 6, timed);
  }
  AttentionProblem plan({16, 8, 128}, Sequences(512, {600, 1}), 16, 1, false, timed.on);
  std::printf("plan of 512 sequences: %.2f us\n", plan.PlanMicroseconds());
}

template <Mode kMode>
void RunCute(const AttentionArgs& args, Stream& stream) {
  AttentionCute(kMode, args, stream);
}

}  // namespace
}  // namespace vexact

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "all";
  const std::string kernels = argc > 2 ? argv[2] : "fa";
  vexact::AttentionTarget on{vexact::AttentionSm90, 1, true, nullptr};
  if (kernels != "fa") {
    on.has_masks = false;
    on.runs_per_sm = vexact::kAttentionCuteRunsPerSm;
    on.run = kernels == "cute" ? vexact::RunCute<vexact::Mode::kInvariant>
                               : vexact::RunCute<vexact::Mode::kVariant>;
  }
  vexact::sm90::CheckCuda(cudaStreamCreate(&on.cuda));
  const vexact::Timed timed{on, argc > 3 ? argv[3] : ""};
  const bool has_bits = kernels != "cute-free";
  int64_t differing = 0;
  if (has_bits && (what == "check" || what == "all")) differing += vexact::CheckAll(on);
  if (has_bits && (what == "words" || what == "all")) differing += vexact::CompareAllCuts(on);
  if (what == "time" || what == "all") vexact::TimeAll(timed);
  if (on.has_masks && what == "masks") {
    differing += vexact::CheckMasks(on);
    vexact::TimeMasks(timed);
  }
  return differing == 0 ? 0 : 1;
}
