// Exit statuses, help and refusals of the programs, and the subcommands without an engine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/cli.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

TEST(Usage, HelpOfEverySubcommandIsASuccessOnStandardOutput) {
  const std::vector<std::vector<std::string>> commands = {
      {},           {"generate"}, {"chat"}, {"score"}, {"bench"}, {"bench", "throughput"},
      {"tokenize"}, {"inspect"}};
  for (std::vector<std::string> command : commands) {
    command.emplace_back("--help");
    const ProgramResult result = Vexact(command);
    EXPECT_EQ(result.exit_status, 0);
    EXPECT_THAT(result.out, HasSubstr("--help"));
    EXPECT_EQ(result.err, "");
    if (command.size() > 1 && command != commands[4]) {
      EXPECT_TRUE(command[0] == "bench" || result.out.find("--model-path") != std::string::npos);
    }
  }
}

TEST(Usage, HelpOfGenerateHasEveryFlag) {
  const std::string help = Vexact({"generate", "--help"}).out;
  for (const char* flag : {"--model",
                           "--model-path",
                           "--prompt",
                           "--input",
                           "--output",
                           "--stream",
                           "--digest",
                           "--max-tokens",
                           "--min-tokens",
                           "--temperature",
                           "--top-p",
                           "--top-k",
                           "--min-p",
                           "--n",
                           "--stop",
                           "--stop-token-ids",
                           "--include-stop-str-in-output",
                           "--ignore-eos",
                           "--no-skip-special-tokens",
                           "--no-detokenize",
                           "--logprobs",
                           "--prompt-logprobs",
                           "--presence-penalty",
                           "--frequency-penalty",
                           "--repetition-penalty",
                           "--logit-bias",
                           "--allowed-token-ids",
                           "--bad-words",
                           "--logprobs-mode",
                           "--generation-config",
                           "--max-num-batched-tokens",
                           "--max-num-seqs",
                           "--max-model-len",
                           "--block-size",
                           "--kv-cache-memory-bytes",
                           "--no-enable-chunked-prefill",
                           "--disable-chunked-prefill",
                           "--no-enable-prefix-caching",
                           "--threads",
                           "--request-timeout-s",
                           "--pipeline-depth",
                           "--mode",
                           "--attn-impl",
                           "--device",
                           "--batch-probe",
                           "--load-format",
                           "--dummy-seed",
                           "--seed"}) {
    EXPECT_THAT(help, HasSubstr(flag));
  }
}

TEST(Usage, WrongFlagsAreStatusTwoWithNothingOnStandardOutput) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"nonsense"},
      {"generate"},
      {"generate", "--model", TinyModel()},
      {"generate", "--model", TinyModel(), "--prompt", "a", "--input", "-"},
      {"generate", "--model", TinyModel(), "--prompt", "a", "--unknown"},
      {"generate", "--model", TinyModel(), "--prompt", "a", "--temperature", "hot"},
      {"generate", "--model", TinyModel(), "--prompt", "a", "--temperature", "-1"},
      {"generate", "--model", TinyModel(), "--prompt", "a", "--stream", "--n", "2"},
      {"generate", "--model", TinyModel(), "--prompt", "a", "--block-size", "17"},
      {"generate", "--model", TinyModel(), "--prompt", "a", "--pipeline-depth", "2"},
      {"generate", "--model", TinyModel(), "--prompt", "a", "--disable-chunked-prefill",
       "--max-num-batched-tokens", "100", "--max-model-len", "200"},
      {"chat"},
      {"chat", "--model", TinyModel(), "--n", "2"},
      {"chat", "--model", TinyModel(), "--chat-template-kwargs", "[]"},
      {"score", "--model", TinyModel()},
      {"bench"},
      {"bench", "throughput", "--model", TinyModel(), "--num-requests", "0"},
      {"tokenize", "--model", TinyModel()},
      {"inspect"},
  };
  for (const auto& arguments : wrong) {
    const ProgramResult result = Vexact(arguments);
    EXPECT_EQ(result.exit_status, 2) << testing::PrintToString(arguments) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err, "");
  }
}

TEST(Usage, WhatLaterVersionsBringIsRefusedWithAWordAboutIt) {
  const std::vector<std::pair<std::string, std::string>> later = {{"--mode", "variant"},
                                                                  {"--attn-impl", "fa-variant"}};
  for (const auto& [flag, value] : later) {
    const ProgramResult result =
        Vexact({"generate", "--model", TinyModel(), "--prompt", "a", flag, value});
    EXPECT_EQ(result.exit_status, 2);
    EXPECT_THAT(result.err, AllOf(HasSubstr(flag), HasSubstr("not supported yet")));
  }
}

TEST(Usage, FilesThatAreNotThereAreStatusOne) {
  const ProgramResult model = Vexact({"generate", "--model", "/nowhere", "--prompt", "a"});
  EXPECT_EQ(model.exit_status, 1);
  EXPECT_THAT(model.err, HasSubstr("/nowhere"));
  const ProgramResult input =
      Vexact({"generate", "--model", TinyModel(), "--input", "/nowhere.jsonl"});
  EXPECT_EQ(input.exit_status, 1);
  EXPECT_THAT(input.err, HasSubstr("/nowhere.jsonl"));
  EXPECT_EQ(Vexact({"inspect", "--model", "/nowhere"}).exit_status, 1);
  EXPECT_EQ(Vexact({"tokenize", "--model", "/nowhere", "--input", "-"}).exit_status, 1);
}

TEST(Tokenize, TextsToIdsAndBack) {
  const ProgramResult ids =
      RunRequests("tokenize", "{\"prompt\": \"aé\"}\n{\"prompt\": \"<|eos|>b\"}\n");
  EXPECT_EQ(ids.exit_status, 0) << ids.err;
  EXPECT_EQ(ids.out, "{\"prompt_token_ids\":[100,198,172]}\n{\"prompt_token_ids\":[2,101]}\n");
  EXPECT_EQ(RunRequests("tokenize", ids.out, {"--decode"}).out,
            "{\"prompt\":\"aé\"}\n{\"prompt\":\"<|eos|>b\"}\n");
  EXPECT_EQ(RunRequests("tokenize", ids.out, {"--decode", "--skip-special-tokens"}).out,
            "{\"prompt\":\"aé\"}\n{\"prompt\":\"b\"}\n");
}

TEST(Tokenize, AWrongLineHasAnErrorAndTheOthersGoOn) {
  const ProgramResult result =
      RunRequests("tokenize", "{\"prompt\": 5}\n{\"prompt\": \"a\"}\n{\"text\": \"a\"}\n");
  EXPECT_EQ(result.exit_status, 1);
  const auto lines = JsonLines(result.out);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[0]["error"].get<std::string>(), HasSubstr("line 1"));
  EXPECT_EQ(lines[1]["prompt_token_ids"], json{100});
  EXPECT_THAT(lines[2]["error"].get<std::string>(), HasSubstr("\"text\""));
}

TEST(Inspect, SaysWhatAModelIs) {
  const ProgramResult result = Vexact({"inspect", "--model", TinyModel(), "--json", "--tensors"});
  ASSERT_EQ(result.exit_status, 0) << result.err;
  const json model = JsonLines(result.out).at(0);
  EXPECT_EQ(model["architecture"], "llama");
  EXPECT_EQ(model["context_length"], 4096);
  EXPECT_EQ(model["chat_template"], true);
  EXPECT_EQ(model["stop_token_ids"], (json{2, 3}));
  EXPECT_EQ(model["kv_bytes_per_token"], 2 * 3 * 2 * 64 * 2);  // K and V, layers, heads, dim, bf16
  int64_t parameters = 0;
  for (const json& tensor : model["tensor_list"]) {
    int64_t elements = 1;
    for (const int64_t size : tensor["shape"]) elements *= size;
    parameters += elements;
  }
  EXPECT_EQ(model["parameters"], parameters);
  EXPECT_EQ(model["memory_bytes"], 2 * parameters);
  EXPECT_THAT(Vexact({"inspect", "--model-path", TinyModel()}).out,
              AllOf(HasSubstr("architecture"), HasSubstr("llama")));
}

TEST(BenchThroughput, PrintsRatesAndWritesThemAsJson) {
  const TempDir folder;
  const std::string path = folder.path() + "/bench.json";
  const ProgramResult result =
      Vexact({"bench", "throughput", "--model", TinyModel(), "--num-requests", "3", "--input-len",
              "20", "--output-len", "5", "--json", path});
  ASSERT_EQ(result.exit_status, 0) << result.err;
  for (const char* label : {"requests/s", "total tokens/s", "output tokens/s", "wall time",
                            "average latency", "P50 latency", "P95 latency"}) {
    EXPECT_THAT(result.out, HasSubstr(label));
  }
  const json figures = json::parse(ReadFileOrDie(path));
  EXPECT_EQ(figures["num_requests"], 3);
  EXPECT_EQ(figures["prompt_tokens"], 60);
  EXPECT_EQ(figures["output_tokens"], 15);
  EXPECT_GT(figures["output_tokens_per_s"], 0.0);
  EXPECT_GE(figures["p95_latency_s"], figures["p50_latency_s"]);
}

TEST(BenchThroughput, TakesTheLengthsOfATraceOrAFile) {
  const TempDir folder;
  const std::string trace = folder.Write("t.csv", "prompt_tokens,output_tokens\n4,3\n8,2\n9,9\n");
  const std::string json_path = folder.path() + "/bench.json";
  EXPECT_EQ(Vexact({"bench", "throughput", "--model", TinyModel(), "--trace", trace,
                    "--num-requests", "2", "--json", json_path})
                .exit_status,
            0);
  EXPECT_EQ(json::parse(ReadFileOrDie(json_path))["output_tokens"], 5);
  const std::string input = folder.Write("r.jsonl", "{\"prompt\": \"abc\", \"max_tokens\": 7}\n");
  EXPECT_EQ(
      Vexact({"bench", "throughput", "--model", TinyModel(), "--input", input, "--json", json_path})
          .exit_status,
      0);
  EXPECT_EQ(json::parse(ReadFileOrDie(json_path))["output_tokens"], 7);
}

TEST(Demo, ProvesInvarianceOfATinyModel) {
  const ProgramResult result =
      RunProgram(VEXACT_BINARY_DIR "/vexact_demo", {"--model", TinyModel()});
  EXPECT_EQ(result.exit_status, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("proven"));
}

}  // namespace
}  // namespace vexact
