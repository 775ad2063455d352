#include "output/sample_output.h"

#include <gtest/gtest.h>

#include "output/output_processor.h"
#include "tokenizer/byte_level.h"

namespace vexact {
namespace {

// Token i is byte i; token 256 is special.
Tokenizer ByteTokenizer() {
  TokenizerVocabulary vocabulary;
  vocabulary.source = "bytes";
  vocabulary.model = "gpt2";
  vocabulary.pre = "qwen2";
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.push_back(ByteLevelText(std::string(1, static_cast<char>(byte))));
    vocabulary.token_types.push_back(1);
  }
  vocabulary.tokens.emplace_back("<|end|>");
  vocabulary.token_types.push_back(3);
  return Tokenizer::FromVocabulary(vocabulary).value();
}

constexpr int32_t kEnd = 256;

// Feeds one sample with drawn tokens.
class SampleOutputTest : public testing::Test {
 protected:
  SampleOutput Make(const SamplingParams& params, int32_t max_output_tokens = 100) {
    SampleSpec spec;
    spec.params = std::make_shared<const SamplingParams>(params);
    spec.prompt_ids = std::make_shared<const std::vector<int32_t>>(1);
    spec.eos_ids = {kEnd};
    spec.max_output_tokens = max_output_tokens;
    return SampleOutput(std::move(spec), &tokenizer_);
  }

  static Output Draw(SampleOutput* sample, int32_t id, float logprob = -1.0f) {
    PlannedSequence part;
    part.draws = true;
    SequenceResult result;
    result.drawn.token_id = id;
    result.drawn.logprob = logprob;
    return sample->Append(part, result);
  }

  // Bytes of `text` as tokens, until the sample ends. Every piece, joined by '|'.
  static std::string DrawText(SampleOutput* sample, const std::string& text, Output* last) {
    std::string pieces;
    for (const char c : text) {
      *last = Draw(sample, static_cast<unsigned char>(c));
      pieces += last->text + "|";
      if (last->finished()) break;
    }
    return pieces;
  }

  const Tokenizer tokenizer_ = ByteTokenizer();
};

TEST_F(SampleOutputTest, HoldsBackTextThatMayBeginAStopString) {
  SamplingParams params;
  params.stop = {"abc"};
  SampleOutput sample = Make(params);
  Output last;
  EXPECT_EQ(DrawText(&sample, "xabyabc!", &last), "x|||aby||||");
  EXPECT_EQ(last.finish_reason, FinishReason::kStop);
  EXPECT_EQ(std::get<std::string>(last.stop_reason), "abc");
  EXPECT_EQ(last.num_output_tokens, 7);  // ends with the token that completes the stop
}

TEST_F(SampleOutputTest, IncludesTheStopStringIfAsked) {
  SamplingParams params;
  params.stop = {"abc"};
  params.include_stop_str_in_output = true;
  SampleOutput sample = Make(params);
  Output last;
  std::string text = DrawText(&sample, "xabcd", &last);
  std::erase(text, '|');
  EXPECT_EQ(text, "xabc");
}

TEST_F(SampleOutputTest, DoesNotSearchBeforeMinTokens) {
  SamplingParams params;
  params.stop = {"a"};
  params.min_tokens = 3;
  SampleOutput sample = Make(params);
  Output last;
  DrawText(&sample, "aaaaaa", &last);
  EXPECT_EQ(last.num_output_tokens, 4);
}

TEST_F(SampleOutputTest, GivesHeldBackTextAtTheEnd) {
  SamplingParams params;
  params.stop = {"abc"};
  SampleOutput sample = Make(params, /*max_output_tokens=*/2);
  Output last;
  EXPECT_EQ(DrawText(&sample, "ab", &last), "|ab|");
  EXPECT_EQ(last.finish_reason, FinishReason::kLength);

  SampleOutput aborted = Make(params);
  Draw(&aborted, 'a');
  EXPECT_EQ(aborted.End(FinishReason::kAbort).text, "a");
}

TEST_F(SampleOutputTest, AStopIdComesBeforeAStopStringAndTheLastToken) {
  SamplingParams params;
  params.stop = {"b"};
  params.stop_token_ids = {'b'};
  SampleOutput sample = Make(params, 2);
  Draw(&sample, 'a');
  const Output output = Draw(&sample, 'b');
  EXPECT_EQ(output.finish_reason, FinishReason::kStop);
  EXPECT_EQ(std::get<int32_t>(output.stop_reason), 'b');
  EXPECT_EQ(output.text, "");
  EXPECT_EQ(output.token_ids, std::vector<int32_t>{'b'});
}

TEST_F(SampleOutputTest, TheEndHasNoStopReasonAndIsIgnoredOnRequest) {
  SampleOutput sample = Make({});
  const Output output = Draw(&sample, kEnd);
  EXPECT_EQ(output.finish_reason, FinishReason::kStop);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(output.stop_reason));
  SamplingParams ignores;
  ignores.ignore_eos = true;
  ignores.skip_special_tokens = false;
  SampleOutput goes_on = Make(ignores);
  const Output more = Draw(&goes_on, kEnd);
  EXPECT_FALSE(more.finished());
  EXPECT_EQ(more.text, "<|end|>");
}

TEST_F(SampleOutputTest, NeverSplitsACharacterAndEndsAnOpenOneWithAReplacement) {
  SampleOutput sample = Make({}, 4);
  Output last;
  EXPECT_EQ(DrawText(&sample, "\xc3\xa9x\xc3", &last), "|é|x|\xef\xbf\xbd|");
}

TEST_F(SampleOutputTest, FoldsLogProbabilitiesInFp64IfTheyAreWanted) {
  SamplingParams params;
  SampleOutput without = Make(params);
  const Output unasked = Draw(&without, 'a', -0.5f);
  EXPECT_TRUE(unasked.logprobs.empty());
  EXPECT_EQ(unasked.cumulative_logprob, 0.0);
  params.logprobs = 0;
  SampleOutput with = Make(params);
  Draw(&with, 'a', -0.1f);
  const Output output = Draw(&with, 'b', -0.2f);
  EXPECT_EQ(output.cumulative_logprob, static_cast<double>(-0.1f) + static_cast<double>(-0.2f));
  EXPECT_EQ(output.logprobs.size(), 1u);
}

TEST_F(SampleOutputTest, AFaultEndsTheSampleWithItsText) {
  SamplingParams params;
  params.stop = {"ab"};
  SampleOutput sample = Make(params);
  Draw(&sample, 'a');
  SequenceResult fault;
  fault.fault.message = "nothing is allowed";
  PlannedSequence part;
  part.draws = true;
  const Output output = sample.Append(part, fault);
  EXPECT_EQ(output.finish_reason, FinishReason::kError);
  EXPECT_EQ(output.error, "nothing is allowed");
  EXPECT_EQ(output.text, "a");
  EXPECT_TRUE(output.token_ids.empty());
}

TEST_F(SampleOutputTest, AScoreComesAllAtOnceSplitAtThePromptsEnd) {
  SamplingParams params;
  params.logprobs = 0;
  SampleOutput sample = Make(params, /*max_output_tokens=*/2);
  const auto given = [&sample](int32_t begin, const std::string& tokens) {
    PlannedSequence part;
    part.num_prompt_tokens = 3;
    part.targets_begin = begin;
    part.targets_end = begin + static_cast<int32_t>(tokens.size());
    SequenceResult result;
    for (const char c : tokens) {
      result.targets.emplace_back();
      result.targets.back().token_id = c;
    }
    return sample.Append(part, result);
  };
  const Output first = given(1, "wxy");
  EXPECT_TRUE(first.prompt_logprobs.empty());
  EXPECT_TRUE(first.token_ids.empty());
  const Output output = given(4, "z");
  EXPECT_EQ(output.prompt_logprobs.size(), 2u);
  EXPECT_EQ(output.token_ids, (std::vector<int32_t>{'y', 'z'}));
  EXPECT_EQ(output.text, "yz");
  EXPECT_EQ(output.finish_reason, FinishReason::kLength);
}

TEST(OutputProcessor, PassesOverSequencesThatHaveEnded) {
  OutputProcessor processor(nullptr);
  SampleSpec spec;
  spec.sequence_id = 4;
  spec.params = std::make_shared<const SamplingParams>();
  spec.max_output_tokens = 1;
  processor.Add(spec);
  StepPlan plan;
  plan.sequences.resize(1);
  plan.sequences[0].id = 4;
  plan.sequences[0].draws = true;
  StepResult result;
  result.sequences.resize(1);
  std::vector<SequenceOutput> outputs;
  EXPECT_EQ(processor.Append(plan, result, &outputs), Stops{FinishReason::kLength});
  EXPECT_EQ(outputs.size(), 1u);
  // The step that was in flight when the sequence ended.
  EXPECT_EQ(processor.Append(plan, result, &outputs), Stops{FinishReason::kNone});
  EXPECT_EQ(outputs.size(), 1u);
}

}  // namespace
}  // namespace vexact
