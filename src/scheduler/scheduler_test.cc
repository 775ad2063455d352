// budget: one player of model, sampler and output that all tests share.
#include "scheduler/scheduler.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <ctime>
#include <deque>
#include <limits>
#include <map>

#include "support/property.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

// The token that the synthetic model draws at a position of a sequence.
int32_t DrawnToken(SequenceId id, int32_t position) {
  return static_cast<int32_t>((id * 31 + position * 7) % 5);
}

SequenceSpec Spec(SequenceId id, std::vector<int32_t> prompt, int32_t max_output_tokens) {
  SequenceSpec spec;
  spec.id = id;
  spec.targets_begin = spec.targets_end = static_cast<int32_t>(prompt.size());
  spec.prompt_ids = std::make_shared<const std::vector<int32_t>>(std::move(prompt));
  spec.params = std::make_shared<const SamplingParams>();
  spec.max_output_tokens = max_output_tokens;
  spec.prefix_root = std::make_shared<const PrefixRoot>("r");
  return spec;
}

std::vector<int32_t> Prompt(int32_t length, int32_t first = 0) {
  std::vector<int32_t> prompt(length);
  for (int32_t i = 0; i < length; ++i) prompt[i] = (first + i) % 5;
  return prompt;
}

// Makes the first tokens of the prompt a prefix.
void SetPrefix(int32_t prefix_len, SequenceSpec* spec) {
  spec->mask = {.kind = MaskKind::kPrefixLm, .prefix_len = prefix_len};
  std::string key = "prefix";
  for (int32_t i = 0; i < prefix_len; ++i) key += fmt::format(" {}", spec->prompt_ids->at(i));
  spec->prefix_root = std::make_shared<const PrefixRoot>(key);
}

SchedulerOptions Options(int32_t budget, int32_t num_blocks) {
  SchedulerOptions options;
  options.max_num_batched_tokens = budget;
  options.max_num_seqs = 8;
  options.blocks.num_blocks = num_blocks;
  options.blocks.block_size = 4;
  return options;
}

// Plays model, sampler and output: draws DrawnToken, checks that every plan is what a sequence
// needs next, and ends sequences at their maximum.
class Player {
 public:
  Player(const SchedulerOptions& options, size_t depth) : scheduler(options), depth_(depth) {}

  void Add(SequenceSpec spec) {
    History history;
    history.known = *spec.prompt_ids;
    history.known.insert(history.known.end(), spec.completion_ids.begin(),
                         spec.completion_ids.end());
    history.spec = spec;
    histories[spec.id] = std::move(history);
    scheduler.Add(std::move(spec));
  }

  void Abort(SequenceId id) {
    histories[id].ended = true;
    scheduler.Abort(id);
  }

  // False if there was nothing to do.
  bool Step() {
    StepPlan plan = scheduler.PlanStep();
    const bool launched = !plan.empty();
    if (launched) {
      Check(plan);
      plans_.push_back(std::move(plan));
    }
    if (plans_.size() > depth_ || (!launched && !plans_.empty())) {
      Collect();
      return true;
    }
    return launched;
  }

  void Run(int max_steps = 100000) {
    while (Step()) ASSERT_GT(--max_steps, 0) << "no progress";
    ASSERT_FALSE(scheduler.HasWork());
  }

  struct History {
    SequenceSpec spec;
    std::vector<int32_t> known;      // prompt and output
    std::vector<int32_t> targets;    // positions scored, in order
    int32_t late = 0;                // results after the end
    int32_t stop_after = INT32_MAX;  // output tokens
    bool ended = false;
  };
  Scheduler scheduler;
  std::map<SequenceId, History> histories;
  std::vector<StepPlan> log;  // all plans

 private:
  void Check(const StepPlan& plan) {
    log.push_back(plan);
    for (const PlannedSequence& part : plan.sequences) {
      const History& history = histories[part.id];
      const int32_t prefix_len = history.spec.mask.prefix_len;
      const auto end = part.first_position + static_cast<int32_t>(part.tokens.size());
      EXPECT_TRUE(part.first_position >= prefix_len ||
                  (part.first_position == 0 && end >= prefix_len))
          << "a prefix is cut";
      for (size_t i = 0; i < part.tokens.size(); ++i) {
        const size_t position = part.first_position + i;
        if (part.tokens[i] == kPendingToken) {
          EXPECT_EQ(position, history.known.size()) << "one token in flight";
        } else {
          EXPECT_EQ(part.tokens[i], history.known[position]);
        }
      }
    }
  }

  void Collect() {
    const StepPlan plan = std::move(plans_.front());
    plans_.pop_front();
    StepResult result;
    Stops stops;
    for (const PlannedSequence& part : plan.sequences) {
      History& history = histories[part.id];
      SequenceResult found;
      FinishReason stop = FinishReason::kNone;
      const auto end = part.first_position + static_cast<int32_t>(part.tokens.size());
      if (history.ended) {
        ++history.late;
      } else {
        for (int32_t t = part.targets_begin; t < part.targets_end; ++t) {
          EXPECT_EQ(part.target_ids[t - part.targets_begin], history.known[t]);
          EXPECT_GT(t, part.first_position);
          history.targets.push_back(t);
        }
        if (part.draws) {
          EXPECT_EQ(static_cast<size_t>(end), history.known.size());
          found.drawn.token_id = DrawnToken(part.id, end);
          history.known.push_back(found.drawn.token_id);
        }
        stop = StopOf(history);
        history.ended = stop != FinishReason::kNone;
      }
      result.sequences.push_back(found);
      stops.push_back(stop);
    }
    scheduler.Commit(result, stops);
  }

  static FinishReason StopOf(const History& history) {
    const SequenceSpec& spec = history.spec;
    const auto prompt = static_cast<int32_t>(spec.prompt_ids->size());
    if (spec.is_score()) {
      const bool all = !history.targets.empty() && history.targets.back() + 1 == spec.targets_end;
      return all ? FinishReason::kLength : FinishReason::kNone;
    }
    const int32_t output = static_cast<int32_t>(history.known.size()) - prompt;
    if (output >= history.stop_after) return FinishReason::kStop;
    return output >= spec.max_output_tokens ? FinishReason::kLength : FinishReason::kNone;
  }

  size_t depth_;
  std::deque<StepPlan> plans_;
};

TEST(Scheduler, DecodesFirstAndFillsTheBudgetWithPromptChunks) {
  Player player(Options(/*budget=*/6, /*num_blocks=*/32), 0);
  player.Add(Spec(0, Prompt(3), 10));
  player.Step();
  player.Add(Spec(1, Prompt(9), 2));
  player.Step();
  const StepPlan& plan = player.log.back();
  ASSERT_EQ(plan.sequences.size(), 2u);
  EXPECT_EQ(plan.sequences[0].id, 0);
  EXPECT_EQ(plan.sequences[0].tokens.size(), 1u);
  EXPECT_EQ(plan.sequences[1].tokens.size(), 5u);
  EXPECT_FALSE(plan.sequences[1].draws);
  EXPECT_EQ(player.scheduler.plan_stats().num_decode_tokens, 1);
  EXPECT_EQ(player.scheduler.plan_stats().num_prefill_tokens, 5);
  player.Run();
}

TEST(Scheduler, WithoutChunkedPrefillPromptsRunWholeAndInOrder) {
  SchedulerOptions options = Options(8, 32);
  options.enable_chunked_prefill = false;
  Player player(options, 0);
  player.Add(Spec(0, Prompt(5), 2));
  player.Add(Spec(1, Prompt(5, 1), 2));  // does not fit beside the first
  player.Add(Spec(2, Prompt(1, 2), 2));  // would, but it is not its turn
  player.Step();
  ASSERT_EQ(player.log[0].sequences.size(), 1u);
  player.Step();
  ASSERT_EQ(player.log[1].sequences.size(), 3u);
  EXPECT_EQ(player.log[1].sequences[1].tokens.size(), 5u);
  player.Run();
}

TEST(Scheduler, NeverPlansBeyondTheLastToken) {
  for (const size_t depth : {0, 1}) {
    Player player(Options(64, 32), depth);
    player.Add(Spec(0, Prompt(3), 4));
    player.Run();
    EXPECT_EQ(player.histories[0].known.size(), 7u);
    EXPECT_EQ(player.histories[0].late, 0);
    EXPECT_EQ(player.log.size(), 4u);
  }
}

TEST(Scheduler, AStopFoundLateDiscardsTheTokenInFlight) {
  Player player(Options(64, 32), 1);
  player.Add(Spec(0, Prompt(3), 10));
  player.histories[0].stop_after = 2;
  player.Run();
  EXPECT_EQ(player.histories[0].known.size(), 5u);
  EXPECT_EQ(player.histories[0].late, 1);
  EXPECT_EQ(player.scheduler.blocks().num_used(), 0);
}

TEST(Scheduler, AnAbortedSequenceKeepsItsBlocksUntilItsStepIsCollected) {
  Player player(Options(64, 32), 1);
  player.Add(Spec(0, Prompt(5), 10));
  player.Step();
  player.Abort(0);
  EXPECT_EQ(player.scheduler.blocks().num_used(), 2);
  ASSERT_TRUE(player.scheduler.CheckInvariants().ok());
  player.Step();
  EXPECT_EQ(player.scheduler.blocks().num_used(), 0);
  EXPECT_FALSE(player.scheduler.HasWork());
}

TEST(Scheduler, PreemptsTheYoungestAndComputesItAgain) {
  for (const size_t depth : {0, 1}) {
    Player player(Options(64, /*num_blocks=*/6), depth);
    player.Add(Spec(0, Prompt(8), 12));
    player.Add(Spec(1, Prompt(8, 1), 12));
    player.Run();
    EXPECT_GT(player.scheduler.num_preempted(), 0);
    for (const SequenceId id : {0, 1}) {
      ASSERT_EQ(player.histories[id].known.size(), 20u);
      for (int32_t p = 8; p < 20; ++p) {
        EXPECT_EQ(player.histories[id].known[p], DrawnToken(id, p));
      }
    }
    bool is_started_again = false;
    for (const StepPlan& plan : player.log) {
      for (const StartedSequence& started : plan.started) {
        EXPECT_TRUE(started.id == 1 || started.output_ids.empty()) << "the older was preempted";
        is_started_again |= !started.output_ids.empty();
      }
    }
    EXPECT_TRUE(is_started_again);
  }
}

TEST(Scheduler, TheYoungestWaitsForABlockAndIsNotPreemptedForItself) {
  for (const size_t depth : {0, 1}) {
    Player player(Options(64, /*num_blocks=*/5), depth);
    player.Add(Spec(0, Prompt(9), 3));     // 3 blocks to its end
    player.Add(Spec(1, Prompt(7, 1), 5));  // 2 blocks, and one more when the other has ended
    while (player.Step()) {
      const Status status = player.scheduler.CheckInvariants();
      ASSERT_TRUE(status.ok()) << status.error().message;
    }
    EXPECT_EQ(player.scheduler.num_preempted(), 0);
    EXPECT_EQ(player.histories[0].known.size(), 12u);
    EXPECT_EQ(player.histories[1].known.size(), 12u);
  }
}

TEST(Scheduler, ASecondPromptReadsTheFirstOnesBlocksButComputesItsLastToken) {
  Player player(Options(64, 32), 0);
  player.Add(Spec(0, Prompt(8), 1));
  player.Run();
  player.Add(Spec(1, Prompt(8), 1));
  player.Step();
  EXPECT_EQ(player.log.back().sequences[0].first_position, 4);
  EXPECT_EQ(player.scheduler.plan_stats().num_cached_tokens, 4);
  player.Run();
}

TEST(Scheduler, RequestsForPromptLogprobsDoNotReadTheCache) {
  Player player(Options(64, 32), 0);
  player.Add(Spec(0, Prompt(12), 1));
  player.Run();
  SequenceSpec spec = Spec(1, Prompt(12), 1);
  spec.targets_begin = 1;
  player.Add(spec);
  player.Run();
  EXPECT_EQ(player.scheduler.prefix_cache_hits(), 0);
  EXPECT_EQ(player.histories[1].targets.size(), 11u);
}

TEST(Scheduler, AFailedSequencesBlocksNeverEnterTheCache) {
  Scheduler scheduler(Options(64, 32));
  scheduler.Add(Spec(0, Prompt(12), 4));
  ASSERT_EQ(scheduler.PlanStep().sequences.size(), 1u);
  StepResult result;
  result.sequences.resize(1);
  result.sequences[0].fault.message = "not finite";
  scheduler.Commit(result, {FinishReason::kError});
  EXPECT_EQ(scheduler.blocks().num_cached(), 0);
  EXPECT_EQ(scheduler.blocks().num_used(), 0);
  EXPECT_FALSE(scheduler.HasWork());
}

TEST(Scheduler, AScoreRequestComputesAllButItsLastTokenOnce) {
  Player player(Options(5, 32), 1);
  SequenceSpec spec = Spec(0, Prompt(4), 6);
  spec.completion_ids = {4, 3, 2, 1, 0, 4};
  spec.targets_end = 10;
  player.Add(spec);
  player.Run();
  EXPECT_EQ(player.histories[0].targets, (std::vector<int32_t>{4, 5, 6, 7, 8, 9}));
  size_t computed = 0;
  for (const StepPlan& plan : player.log) computed += plan.sequences[0].tokens.size();
  EXPECT_EQ(computed, 9u);
}

// One step's plan of a scheduler whose model never stops, committed.
StepPlan PlanAndCommit(Scheduler* scheduler) {
  StepPlan plan = scheduler->PlanStep();
  StepResult result;
  result.sequences.resize(plan.sequences.size());
  if (!plan.empty()) {
    scheduler->Commit(result, Stops(plan.sequences.size(), FinishReason::kNone));
  }
  return plan;
}

// Seconds that the processor gave this thread: other programs do not lengthen them.
double ThreadSeconds() {
  timespec time;
  VX_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double SecondsOfSteps(Scheduler* scheduler, int steps) {
  const double start = ThreadSeconds();
  for (int step = 0; step < steps; ++step) PlanAndCommit(scheduler);
  return ThreadSeconds() - start;
}

// How often the steps of `small` would fit into those of `large`: the cheapest of 8 rounds of each,
// in turn, so that what disturbs one disturbs the other.
double CostRatio(Scheduler* small, Scheduler* large, int steps) {
  double small_seconds = std::numeric_limits<double>::infinity();
  double large_seconds = small_seconds;
  for (int round = 0; round < 8; ++round) {
    small_seconds = std::min(small_seconds, SecondsOfSteps(small, steps));
    large_seconds = std::min(large_seconds, SecondsOfSteps(large, steps));
  }
  return large_seconds / small_seconds;
}

// Planning with 50,000 in the queue costs what it costs with 50.
TEST(Scheduler, AStepDoesNotLookAtTheQueue) {
  const auto with_queue = [](SequenceId queued) {
    auto scheduler = std::make_unique<Scheduler>(Options(/*budget=*/8, /*num_blocks=*/800));
    for (SequenceId id = 0; id < 2 * queued; ++id) scheduler->Add(Spec(id, Prompt(4), 300));
    for (SequenceId id = queued; id < 2 * queued; ++id) scheduler->Abort(id);
    EXPECT_EQ(scheduler->num_waiting(), queued);
    return scheduler;
  };
  const auto small = with_queue(50);
  const auto large = with_queue(50000);
  EXPECT_LT(CostRatio(small.get(), large.get(), /*steps=*/30), 4);
  EXPECT_EQ(large->num_running(), 8);
}

// 25,000 cached blocks are the head's prefix, and it does not fit for many steps: they cost what
// steps cost behind a prefix of 25 blocks.
TEST(Scheduler, AWaitingHeadsPrefixIsNotMatchedAtEveryStep) {
  const auto with_prefix = [](int32_t prefix) {
    auto scheduler =
        std::make_unique<Scheduler>(Options(/*budget=*/prefix, /*num_blocks=*/prefix / 4 + 300));
    scheduler->Add(Spec(0, Prompt(prefix), 1));
    PlanAndCommit(scheduler.get());
    scheduler->Abort(0);
    EXPECT_EQ(scheduler->blocks().num_cached(), prefix / 4);
    scheduler->Add(Spec(1, Prompt(2, 1), 1200));
    PlanAndCommit(scheduler.get());
    scheduler->Add(Spec(2, Prompt(prefix + 1200), 1));
    return scheduler;
  };
  constexpr int32_t kPrefix = 100000;
  const auto small = with_prefix(100);
  const auto large = with_prefix(kPrefix);
  EXPECT_LT(CostRatio(small.get(), large.get(), /*steps=*/100), 4);
  EXPECT_EQ(large->num_waiting(), 1);
  large->Abort(1);
  EXPECT_EQ(PlanAndCommit(large.get()).sequences.at(0).first_position, kPrefix);
}

TEST(Scheduler, AWaitingHeadStartsAsSoonAsEnoughOfItsPrefixIsCached) {
  Player player(Options(/*budget=*/64, /*num_blocks=*/4), 0);
  player.Add(Spec(0, Prompt(8), 5));
  player.Add(Spec(1, Prompt(12), 1));  // 3 blocks beside 2, or one behind the first one's
  player.Step();
  ASSERT_EQ(player.log[0].sequences.size(), 1u);
  player.Step();
  ASSERT_EQ(player.log[1].sequences.size(), 2u);
  EXPECT_EQ(player.log[1].sequences[1].first_position, 8);
  player.Run();
}

TEST(Scheduler, AWaitingHeadStartsAsSoonAsBlocksComeBack) {
  Player player(Options(/*budget=*/64, /*num_blocks=*/3), 0);
  player.Add(Spec(0, Prompt(5), 3));
  player.Add(Spec(1, Prompt(6, 1), 1));
  while (!player.histories[0].ended) player.Step();
  EXPECT_EQ(player.scheduler.num_waiting(), 1);
  player.Step();
  EXPECT_EQ(player.log.back().sequences.at(0).id, 1);
  player.Run();
}

TEST(Scheduler, APrefixWaitsForAStepThatHoldsItWhole) {
  Player player(Options(/*budget=*/6, /*num_blocks=*/32), 0);
  player.Add(Spec(0, Prompt(3), 3));
  player.Step();
  SequenceSpec spec = Spec(1, Prompt(9, 1), 2);
  SetPrefix(6, &spec);
  player.Add(std::move(spec));
  player.Step();  // one token decodes, five are left
  EXPECT_EQ(player.log.back().sequences.size(), 1u);
  player.Step();
  player.Step();
  ASSERT_EQ(player.log.back().sequences.size(), 1u);
  EXPECT_EQ(player.log.back().sequences[0].tokens.size(), 6u);
  EXPECT_EQ(player.log.back().sequences[0].mask_reach, (std::vector<int32_t>{5, 4, 3, 2, 1, 0}));
  player.Run();
  EXPECT_EQ(player.log[4].sequences[0].mask_reach, (std::vector<int32_t>{0, 0, 0}));
}

TEST(Scheduler, APrefixIsFoundWholeOrNotAtAll) {
  const auto with_prefix = [](SequenceId id, int32_t prompt) {
    SequenceSpec spec = Spec(id, Prompt(prompt), 1);
    SetPrefix(6, &spec);
    return spec;
  };
  Player player(Options(64, 32), 0);
  player.Add(with_prefix(0, 12));
  player.Run();
  player.Add(with_prefix(1, 12));
  player.Step();
  EXPECT_EQ(player.log.back().sequences[0].first_position, 8);
  player.Run();
  player.Add(with_prefix(2, 8));  // its last token is computed: one block could be found, of two
  player.Step();
  EXPECT_EQ(player.log.back().sequences[0].first_position, 0);
  player.Run();
  EXPECT_TRUE(player.scheduler.CheckInvariants().ok());
}

TEST(Scheduler, DocumentsOfOtherLengthsShareNoBlockFromThereOn) {
  const auto with_document_at = [](SequenceId id, int32_t start) {
    SequenceSpec spec = Spec(id, Prompt(13), 1);
    spec.mask = {.kind = MaskKind::kDocument, .document_starts = {start}};
    return spec;
  };
  Player player(Options(64, 32), 0);
  player.Add(with_document_at(0, 6));
  player.Run();
  EXPECT_EQ(player.log[0].sequences[0].mask_reach,
            (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 6}));
  player.Add(with_document_at(1, 6));
  player.Step();
  EXPECT_EQ(player.log.back().sequences[0].first_position, 12);
  player.Run();
  player.Add(with_document_at(2, 7));
  player.Step();
  EXPECT_EQ(player.log.back().sequences[0].first_position, 4);
  player.Run();
}

struct RandomSequence {
  int32_t prompt, output, stop_after;
  int32_t prefix_len;
  bool is_score, scores_prompt;
  int arrival;  // step
  int abort;    // step, or -1
};

// Whatever comes and goes: every sequence gets all its tokens in order, each target once, nothing
// leaks, and the oldest always moves on.
TEST(Scheduler, RandomLoadsEndWithEveryTokenAndNoLeak) {
  int64_t num_preempted = 0;
  EXPECT_TRUE(Holds(ScaledCases(1000), [&num_preempted] {
    // The longest sequence needs 5 blocks. Sequences that come together, are many and decode long
    // are what preempts; left to chance it is 2 cases of 100.
    const bool crowded = OneIn(2);
    SchedulerOptions options = Options(Between(crowded ? 10 : 1, 19), Between(5, crowded ? 7 : 13));
    options.max_num_seqs = Between(crowded ? 3 : 1, 5);
    options.blocks.enable_prefix_caching = OneIn(2);
    options.enable_chunked_prefill = options.max_num_batched_tokens < 18 || OneIn(2);
    const auto depth = static_cast<size_t>(Between(0, 1));
    const int32_t count = Between(crowded ? 5 : 1, 8);
    Player player(options, depth);
    std::vector<RandomSequence> sequences;
    for (int i = 0; i < count; ++i) {
      sequences.push_back({Between(1, 9), Between(crowded ? 5 : 1, 8), Between(crowded ? 8 : 1, 11),
                           Between(-6, 9), OneIn(4), OneIn(3), Between(0, crowded ? 3 : 11),
                           Between(-20, 19)});
    }
    SequenceId added = 0;
    bool more = true;
    for (int step = 0; more || step < 12; ++step) {
      RC_ASSERT(step < 5000);
      for (int i = 0; i < count; ++i) {
        const RandomSequence& s = sequences[i];
        if (s.arrival == step) {
          SequenceSpec spec = Spec(i, Prompt(s.prompt, i % 2), s.output);
          if (s.is_score) spec.completion_ids = Prompt(s.output, 3);
          if (s.is_score) spec.targets_end = s.prompt + s.output;
          if (s.scores_prompt) spec.targets_begin = 1;
          const int32_t prefix_len =
              std::min({s.prefix_len, s.prompt, options.max_num_batched_tokens});
          if (prefix_len > 1) SetPrefix(prefix_len, &spec);
          player.Add(std::move(spec));
          player.histories[i].stop_after = s.stop_after;
          ++added;
        }
        if (s.abort == step && player.histories.contains(i)) player.Abort(i);
      }
      more = player.Step();
      const Status status = player.scheduler.CheckInvariants();
      if (!status.ok()) RC_LOG() << status.error().message;
      RC_ASSERT(status.ok());
    }
    RC_ASSERT(added == count);
    RC_ASSERT(!player.scheduler.HasWork());
    RC_ASSERT(player.scheduler.blocks().num_used() == 0);
    num_preempted += player.scheduler.num_preempted();
    for (const auto& [id, history] : player.histories) {
      const RandomSequence& s = sequences[id];
      RC_ASSERT(history.ended);
      RC_ASSERT(std::ranges::adjacent_find(history.targets, std::ranges::greater_equal()) ==
                history.targets.end());
      if (s.abort >= 0 && s.abort >= s.arrival) continue;
      const size_t output = s.is_score ? s.output : std::min(s.output, s.stop_after);
      RC_ASSERT(history.known.size() == s.prompt + output);
      const size_t targets = (s.scores_prompt ? s.prompt - 1 : 0) + (s.is_score ? s.output : 0);
      RC_ASSERT(history.targets.size() == targets);
    }
  }));
  EXPECT_GT(num_preempted, 0);
}

}  // namespace
}  // namespace vexact
