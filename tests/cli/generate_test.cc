// `vexact generate` as a user runs it, on a tiny model.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <csignal>
#include <filesystem>
#include <set>

#include "support/cli.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

// Greedy and drawn, short and long, with and without seeds.
std::string MixedRequests() {
  std::string lines;
  for (int i = 0; i < 10; ++i) {
    json request = {{"prompt", std::string(1 + 29 * static_cast<size_t>(i), 'a' + i)},
                    {"max_tokens", 12 - i},
                    {"temperature", i % 2 == 0 ? 0.0 : 1.0},
                    {"logprobs", i % 3}};
    if (i % 4 == 1) request["seed"] = i;
    if (i % 4 == 3) request["top_p"] = 0.8;
    lines += request.dump() + "\n";
  }
  return lines;
}

std::string DigestOf(const std::vector<std::string>& flags) {
  std::vector<std::string> all = {"--digest", "--output", "/dev/null"};
  all.insert(all.end(), flags.begin(), flags.end());
  const auto lines = Answers("generate", MixedRequests(), all);
  EXPECT_EQ(lines.size(), 1u);
  return lines.at(0).at("digest");
}

TEST(Generate, ResultsComeInInputOrderWithEveryField) {
  const auto lines = Answers("generate", MixedRequests());
  ASSERT_EQ(lines.size(), 10u);
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["index"], i);
    EXPECT_EQ(lines[i]["prompt_token_ids"].size(), 1 + 29 * i);
    const json& sample = lines[i]["outputs"].at(0);
    for (const char* field : {"index", "text", "token_ids", "logprobs", "cumulative_logprob",
                              "finish_reason", "stop_reason", "seed", "num_cached_tokens"}) {
      EXPECT_TRUE(sample.contains(field)) << field;
    }
    EXPECT_GT(sample["timings"]["total_s"], 0.0);
    ASSERT_EQ(sample["logprobs"].size(), sample["token_ids"].size());
    EXPECT_LE(sample["logprobs"][0]["top"].size(), i % 3);
  }
}

TEST(Generate, DigestIsTheSameForEveryBudgetThreadCountCacheAndPipeline) {
  const std::string digest = DigestOf({});
  EXPECT_EQ(digest.size(), 64u);
  EXPECT_EQ(DigestOf({"--max-num-batched-tokens", "16"}), digest);
  EXPECT_EQ(DigestOf({"--max-num-batched-tokens", "100", "--threads", "1"}), digest);
  EXPECT_EQ(DigestOf({"--threads", "3", "--block-size", "64"}), digest);
  EXPECT_EQ(DigestOf({"--no-enable-prefix-caching", "--pipeline-depth", "0"}), digest);
  EXPECT_EQ(DigestOf({"--max-num-seqs", "1"}), digest);
  EXPECT_NE(DigestOf({"--seed", "1"}), digest);  // of requests without a seed
}

TEST(Generate, ARequestWithoutASeedSaysItsSeedAndCanBeRepeated) {
  const std::string request = R"({"prompt": "abc", "max_tokens": 8})";
  const auto first = Answers("generate", request + "\n" + request + "\n", {"--seed", "5"});
  const json seed = first[1]["outputs"][0]["seed"];
  EXPECT_NE(first[0]["outputs"][0]["seed"], seed);
  json again = json::parse(request);
  again["seed"] = seed;
  EXPECT_EQ(Answers("generate", again.dump())[0]["outputs"][0]["token_ids"],
            first[1]["outputs"][0]["token_ids"]);
}

TEST(Generate, LogprobsAreTheShortestDecimalsOfTheirFloats) {
  const ProgramResult result =
      RunRequests("generate", R"({"prompt": "abc", "max_tokens": 8, "logprobs": 3})");
  const std::vector<json> lines = JsonLines(result.out);
  for (const json& token : lines.at(0)["outputs"][0]["logprobs"]) {
    for (const json& top : token["top"]) {
      const float value = static_cast<float>(top["logprob"].get<double>());
      EXPECT_THAT(result.out, HasSubstr(fmt::format("\"logprob\":{}", value)));
    }
  }
}

TEST(Generate, AWrongLineFailsAloneAndTheOthersKeepTheirAnswers) {
  const std::string good = R"({"prompt": "abc", "max_tokens": 6, "logprobs": 0})";
  const ProgramResult result = RunRequests(
      "generate", "not json\n" + good + "\n\n" + R"({"prompt": "x", "best_of": 2})" + "\n" +
                      R"({"prompt_token_ids": [99999]})" + "\n" + R"({"prompt": ""})" + "\n" +
                      R"({"prompt": "x", "temperature": -1})" + "\n" + good);
  EXPECT_EQ(result.exit_status, 1);
  const auto lines = JsonLines(result.out);
  ASSERT_EQ(lines.size(), 7u);
  const char* errors[] = {"line 1", nullptr,       "\"best_of\"", "99999",
                          "prompt", "temperature", nullptr};
  for (size_t i = 0; i < lines.size(); ++i) {
    const json& sample = lines[i]["outputs"][0];
    EXPECT_EQ(lines[i]["index"], i);
    if (errors[i] == nullptr) {
      EXPECT_NE(sample["finish_reason"], "error");
      continue;
    }
    EXPECT_EQ(sample["finish_reason"], "error");
    EXPECT_THAT(sample["error"].get<std::string>(), HasSubstr(errors[i])) << i;
  }
  EXPECT_THAT(lines[3]["outputs"][0]["error"].get<std::string>(), HasSubstr("99999"));
  // The seed depends on the request's place in the input, wrong lines included.
  const auto alone = Answers("generate", good + "\n" + good);
  EXPECT_EQ(lines[1]["outputs"][0]["token_ids"], alone[1]["outputs"][0]["token_ids"]);
  EXPECT_EQ(lines[1]["outputs"][0]["logprobs"], alone[1]["outputs"][0]["logprobs"]);
}

TEST(Generate, FlagsAreTheDefaultsOfLinesThatDoNotSay) {
  const auto lines =
      Answers("generate", "{\"prompt\": \"abc\"}\n{\"prompt\": \"abc\", \"max_tokens\": 2}",
              {"--max-tokens", "5", "--ignore-eos", "--logprobs", "1"});
  EXPECT_EQ(lines[0]["outputs"][0]["token_ids"].size(), 5u);
  EXPECT_EQ(lines[0]["outputs"][0]["finish_reason"], "length");
  EXPECT_EQ(lines[1]["outputs"][0]["token_ids"].size(), 2u);
  EXPECT_EQ(lines[1]["outputs"][0]["logprobs"].size(), 2u);
}

TEST(Generate, SeveralOutputsAPromptHaveTheirOwnIndices) {
  const auto lines = Answers("generate", R"({"prompt": "abc", "n": 3, "max_tokens": 6})");
  ASSERT_EQ(lines.size(), 1u);
  ASSERT_EQ(lines[0]["outputs"].size(), 3u);
  std::set<std::string> different;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(lines[0]["outputs"][i]["index"], i);
    different.insert(lines[0]["outputs"][i]["token_ids"].dump());
  }
  EXPECT_GT(different.size(), 1u);
}

TEST(Generate, PromptLogprobsBeginWithNull) {
  const auto lines =
      Answers("generate", R"({"prompt": "abcd", "max_tokens": 1, "prompt_logprobs": 2})");
  const json& prompt = lines[0]["prompt_logprobs"];
  ASSERT_EQ(prompt.size(), 4u);
  EXPECT_TRUE(prompt[0].is_null());
  EXPECT_EQ(prompt[1]["token_id"], lines[0]["prompt_token_ids"][1]);
  EXPECT_EQ(prompt[3]["top"].size(), 2u);
}

TEST(Generate, ForbiddenTokensHaveNullLogprobsAndAreInNoTopList) {
  const auto lines = Answers(
      "generate", R"({"prompt": "abc", "max_tokens": 2, "allowed_token_ids": [70], "logprobs": 5})",
      {"--logprobs-mode", "processed_logprobs"});
  const json& token = lines[0]["outputs"][0]["logprobs"][0];
  EXPECT_EQ(token["token_id"], 70);
  EXPECT_EQ(token["logprob"], 0.0);
  EXPECT_EQ(token["top"].size(), 1u);
}

TEST(Generate, StreamedPiecesJoinToTheTextAndPrecedeTheResult) {
  const auto plain = Answers("generate", MixedRequests());
  std::vector<std::string> texts(plain.size());
  std::vector<std::vector<int>> ids(plain.size());
  size_t results = 0;
  for (const json& line : Answers("generate", MixedRequests(), {"--stream"})) {
    const size_t index = line["index"];
    if (line.contains("delta")) {
      EXPECT_GE(index, results);
      texts[index] += line["delta"]["text"];
      for (const int id : line["delta"]["token_ids"]) ids[index].push_back(id);
      continue;
    }
    EXPECT_EQ(index, results++);
    EXPECT_EQ(line["outputs"][0]["text"], texts[index]);
  }
  ASSERT_EQ(results, plain.size());
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_EQ(plain[i]["outputs"][0]["text"], texts[i]);
    EXPECT_EQ(plain[i]["outputs"][0]["token_ids"], json(ids[i]));
  }
}

TEST(Generate, AStreamedPromptIsBareText) {
  const std::vector<std::string> common = {"generate", "--model-path",  TinyModel(),
                                           "--prompt", "hello",         "--max-tokens",
                                           "20",       "--temperature", "0"};
  const ProgramResult plain = Vexact(common);
  EXPECT_EQ(plain.exit_status, 0) << plain.err;
  std::vector<std::string> streaming = common;
  streaming.emplace_back("--stream");
  const ProgramResult streamed = Vexact(streaming);
  EXPECT_EQ(streamed.exit_status, 0) << streamed.err;
  const std::string text = JsonLines(plain.out).at(0)["outputs"][0]["text"];
  EXPECT_EQ(streamed.out, text + "\n");
}

TEST(Generate, ResultsGoToTheOutputFileAndTheDigestToStandardOutput) {
  const TempDir folder;
  const std::string path = folder.path() + "/results.jsonl";
  const ProgramResult result =
      RunRequests("generate", MixedRequests(), {"--output", path, "--digest", "--quiet"});
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_EQ(result.err, "");
  const auto lines = JsonLines(ReadFileOrDie(path));
  ASSERT_EQ(lines.size(), 10u);
  const auto digest = JsonLines(result.out);
  ASSERT_EQ(digest.size(), 1u);
  size_t tokens = 0;
  for (const json& line : lines) tokens += line["outputs"][0]["token_ids"].size();
  EXPECT_EQ(digest[0]["tokens"], tokens);
  EXPECT_EQ(digest[0]["logprobs"], tokens);  // also of requests that did not ask to see them
}

TEST(Generate, AFileThatIsReadIsNotWritten) {
  const TempDir folder;
  const std::string requests = folder.Write("r.jsonl", MixedRequests());
  const std::string link = folder.path() + "/link.jsonl";
  std::filesystem::create_symlink(requests, link);
  const std::string fresh = folder.path() + "/fresh.jsonl";
  const std::string model = folder.Write("m.gguf", "weights");
  const std::vector<std::vector<std::string>> wrong = {
      {TinyModel(), "--input", requests, "--output", requests},
      {TinyModel(), "--input", link, "--receipts", requests},
      {TinyModel(), "--input", requests, "--output", fresh, "--batch-probe",
       folder.path() + "/./fresh.jsonl"},
      {model, "--prompt", "a", "--output", model}};
  for (const std::vector<std::string>& flags : wrong) {
    std::vector<std::string> arguments = {"generate", "--model"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const ProgramResult result = Vexact(arguments);
    EXPECT_EQ(result.exit_status, 2);
    EXPECT_THAT(result.err, HasSubstr("expected another file than that of --"));
  }
  EXPECT_EQ(ReadFileOrDie(requests), MixedRequests());
  EXPECT_EQ(ReadFileOrDie(model), "weights");
  EXPECT_FALSE(std::filesystem::exists(fresh));
  // Devices may be read and written.
  EXPECT_EQ(Vexact({"generate", "--model", TinyModel(), "--input", "/dev/null", "--output",
                    "/dev/null", "--batch-probe", "/dev/null"})
                .exit_status,
            0);
}

TEST(Generate, AnOutputIsKeptWhereTheInputIsNotThere) {
  const TempDir folder;
  const std::string output = folder.Write("results.jsonl", "earlier\n");
  EXPECT_EQ(Vexact({"generate", "--model", TinyModel(), "--input", "/nowhere", "--output", output})
                .exit_status,
            1);
  EXPECT_EQ(ReadFileOrDie(output), "earlier\n");
}

TEST(Generate, AFullDiskIsAFailure) {
  const ProgramResult result = RunRequests("generate", MixedRequests(), {"--output", "/dev/full"});
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, HasSubstr("/dev/full"));
}

TEST(Generate, TheBatchProbeHasALineAStep) {
  const TempDir folder;
  const std::string path = folder.path() + "/probe.jsonl";
  const auto results = Answers("generate", MixedRequests(), {"--batch-probe", path});
  size_t prompt_tokens = 0;
  for (const json& line : results) prompt_tokens += line["prompt_token_ids"].size();
  size_t prefill_tokens = 0;
  for (const json& line : JsonLines(ReadFileOrDie(path))) {
    prefill_tokens += line["prefill_tokens"].get<size_t>();
    for (const char* field : {"step", "requests", "decode_tokens", "waiting", "kv_blocks_used",
                              "preempted", "cached_tokens", "ms", "host_ms", "idle_ms"}) {
      EXPECT_TRUE(line.contains(field)) << field;
    }
  }
  EXPECT_EQ(prefill_tokens, prompt_tokens);
}

TEST(Generate, AnswersWhileTheWriterIsStillThere) {
  RunningProgram program(VexactPath(),
                         {"generate", "--model", TinyModel(), "--input", "-", "--quiet"});
  program.Write("{\"prompt\": \"abc\"}\n");
  EXPECT_TRUE(program.WaitForLines(1));
  program.Write("{\"prompt\": \"def\"}\n");
  EXPECT_TRUE(program.WaitForLines(2));
  program.CloseInput();
  EXPECT_EQ(program.Wait().exit_status, 0);
}

TEST(Generate, AnInterruptEndsRequestsWithWholeLines) {
  RunningProgram program(
      VexactPath(), {"generate", "--model", TinyModel(), "--input", "-", "--quiet", "--stream"});
  program.Write("{\"prompt\": \"abc\", \"max_tokens\": 1}\n");
  for (int i = 0; i < 3; ++i) {
    program.Write("{\"prompt\": \"abc\", \"max_tokens\": 4000, \"ignore_eos\": true}\n");
  }
  ASSERT_TRUE(program.WaitForLines(20));
  program.Signal(SIGINT);
  const ProgramResult result = program.Wait();
  EXPECT_EQ(result.exit_status, 1);
  ASSERT_FALSE(result.out.empty());
  EXPECT_EQ(result.out.back(), '\n');
  std::vector<std::string> reasons;
  for (const json& line : JsonLines(result.out)) {
    if (!line.contains("delta")) reasons.push_back(line["outputs"][0]["finish_reason"]);
  }
  EXPECT_THAT(reasons, ElementsAre("length", "abort", "abort", "abort"));
}

TEST(Generate, ATimeoutEndsARequestAsItIs) {
  const auto lines =
      Answers("generate", R"({"prompt": "abc", "max_tokens": 4000, "ignore_eos": true})",
              {"--request-timeout-s", "0.05"});
  EXPECT_EQ(lines[0]["outputs"][0]["finish_reason"], "timeout");
}

TEST(Generate, TheModelsOwnDefaultsCountWhenAskedFor) {
  const std::string request = R"({"prompt": "abc", "max_tokens": 12, "seed": 3})";
  const auto tokens = [&request](const std::vector<std::string>& flags) {
    return Answers("generate", request, flags)[0]["outputs"][0]["token_ids"];
  };
  // models/tiny-llama/generation_config.json: temperature 0.6, top_p 0.9.
  EXPECT_EQ(tokens({"--generation-config", "auto"}),
            tokens({"--temperature", "0.6", "--top-p", "0.9"}));
  EXPECT_NE(tokens({"--generation-config", "auto"}), tokens({}));
}

}  // namespace
}  // namespace vexact
