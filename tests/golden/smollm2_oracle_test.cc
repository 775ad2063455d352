// SmolLM2-135M-Instruct, whole, against an independent implementation of docs/numerics.md
// (tests/data/oracle/oracle_smollm2.json): the same tokens, the same words of every
// log-probability, the same text, all three requests in one batch.
#include <gtest/gtest.h>

#include <bit>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "engine/load_model.h"
#include "support/backends.h"
#include "support/paths.h"
#include "support/smollm2.h"

namespace vexact {
namespace {

struct Answer {
  std::vector<int32_t> token_ids;
  std::vector<std::string> logprob_words;
  std::vector<std::string> prompt_logprob_words;
  std::string text;
};

void AppendWords(const std::vector<TokenLogprob>& tokens, std::vector<std::string>& words) {
  for (const TokenLogprob& token : tokens) {
    words.push_back(fmt::format("{:08x}", std::bit_cast<uint32_t>(token.logprob)));
  }
}

Request RequestOf(const nlohmann::json& json) {
  Request request;
  request.prompt_token_ids = json["prompt_token_ids"].get<std::vector<int32_t>>();
  SamplingParams& sampling = request.sampling;
  sampling.ignore_eos = json["ignore_eos"].get<bool>();
  sampling.temperature = json["temperature"].get<double>();
  sampling.top_p = json.value("top_p", 1.0);
  if (json.contains("seed")) sampling.seed = json["seed"].get<int64_t>();
  sampling.max_tokens = json["max_tokens"].get<int32_t>();
  sampling.logprobs = 0;
  sampling.prompt_logprobs = 0;
  sampling.skip_special_tokens = false;
  return request;
}

TEST(SmolLm2, AnswersWithTheOraclesBits) {
  const std::string path = test::SmolLm2Path();
  if (path.empty()) GTEST_SKIP() << "the model is not in the cache: run scripts/fetch_model";
  std::ifstream file(SourceDir() + "/tests/data/oracle/oracle_smollm2.json");
  const nlohmann::json requests = nlohmann::json::parse(file)["requests"];
  const Result<LoadedModel> loaded = LoadModel({.path = path}, BestDevice(), {});
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  auto engine = Engine::Create({}, loaded->model, loaded->tokenizer);
  ASSERT_TRUE(engine.ok()) << engine.error().message;

  std::vector<RequestId> ids;
  for (const auto& request : requests) {
    const Result<RequestId> id = (*engine)->Add(RequestOf(request));
    ASSERT_TRUE(id.ok()) << id.error().message;
    ids.push_back(*id);
  }
  std::map<RequestId, Answer> answers;
  while ((*engine)->HasWork()) {
    for (const Output& output : (*engine)->Step()) {
      ASSERT_EQ(output.error, "");
      Answer& answer = answers[output.request_id];
      answer.token_ids.insert(answer.token_ids.end(), output.token_ids.begin(),
                              output.token_ids.end());
      AppendWords(output.logprobs, answer.logprob_words);
      AppendWords(output.prompt_logprobs, answer.prompt_logprob_words);
      answer.text += output.text;
    }
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    const nlohmann::json& expected = requests[i]["expected"];
    const Answer& answer = answers[ids[i]];
    EXPECT_EQ(answer.token_ids, expected["token_ids"].get<std::vector<int32_t>>()) << i;
    EXPECT_EQ(answer.logprob_words, expected["logprob_words"].get<std::vector<std::string>>()) << i;
    const nlohmann::json& prompt = expected["prompt_logprob_words"];  // null for the first token
    EXPECT_EQ(answer.prompt_logprob_words,
              std::vector<std::string>(prompt.begin() + 1, prompt.end()))
        << i;
    EXPECT_EQ(answer.text, expected["text"].get<std::string>()) << i;
  }
}

}  // namespace
}  // namespace vexact
