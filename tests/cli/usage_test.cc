// Exit statuses, help and refusals of the programs, and the subcommands without an engine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "support/cli.h"
#include "support/paths.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

TEST(Usage, HelpOfEverySubcommandIsASuccessOnStandardOutput) {
  const std::vector<std::vector<std::string>> commands = {{},
                                                          {"generate"},
                                                          {"chat"},
                                                          {"score"},
                                                          {"bench"},
                                                          {"bench", "throughput"},
                                                          {"bench", "compare"},
                                                          {"tokenize"},
                                                          {"inspect"}};
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
  EXPECT_THAT(help, AllOf(HasSubstr("prefix_len"), HasSubstr("document_ids")));  // --mask's fields
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
                           "--mask",
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
      {"bench", "compare", "--model", TinyModel(), "--threads", "1000000"},
      {"bench", "compare", "--model", TinyModel(), "--block-size", "17"},
      {"tokenize", "--model", TinyModel()},
      {"tokenize", "--model", TinyModel(), "--input", "-", "--skip-special-tokens"},
      {"tokenize", "--model", TinyModel(), "--input", "-", "--decode", "--add-special-tokens"},
      {"inspect"},
      {"doctor", "--threads", "1000000"},
      {"doctor", "--threads", "-4"},
      {"doctor", "--digest-rows", "0"},
      {"doctor", "--attn-impl", "flash"},
  };
  for (const auto& arguments : wrong) {
    const ProgramResult result = Vexact(arguments);
    EXPECT_EQ(result.exit_status, 2) << testing::PrintToString(arguments) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err, "");
  }
}

TEST(Usage, AMissingOrUnknownSubcommandIsAnsweredWithThoseThatThereAre) {
  const std::string commands =
      "vexact: command: expected one of generate, chat, score, verify, serve, bench, tokenize, "
      "inspect, doctor, found ";
  const std::string benches = "vexact: bench: expected one of throughput, compare, found ";
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{}, commands + "none\n"},
      {{"bogus"}, commands + "\"bogus\"\n"},
      {{"bogus", "--model", "/nowhere"}, commands + "\"bogus\"\n"},
      {{"--bogus"}, commands + "\"--bogus\"\n"},
      {{"bench"}, benches + "none\n"},
      {{"bench", "bogus"}, benches + "\"bogus\"\n"},
      {{"bench", "--bogus", "compare", "--model", "/nowhere"}, "not expected: --bogus"}};
  for (const auto& [arguments, message] : wrong) {
    const ProgramResult result = Vexact(arguments);
    EXPECT_EQ(result.exit_status, 2);
    EXPECT_THAT(result.err, HasSubstr(message)) << testing::PrintToString(arguments);
  }
}

// Nothing is loaded for them: the model is not there.
TEST(Usage, ContradictionsWithTheModeAreStatusTwoBeforeAnythingIsLoaded) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> refused = {
      {{"--attn-impl", "fa-variant"}, "attn_impl fa-variant contradicts mode invariant"},
      {{"--mode", "variant", "--attn-impl", "fa-invariant"},
       "attn_impl fa-invariant contradicts mode variant"},
      {{"--attn-impl", "fa-invariant-cute", "--device", "cpu"}, "contradicts device cpu"},
      {{"--attn-impl", "fa-invariant", "--mask", "document"},
       "fa-invariant contradicts mask document: it is causal alone; use flex"},
      {{"--mask", "round"}, "mask: expected one of causal, sliding-window, prefix-lm, document"},
      {{"--attn-impl", "flash"}, "expected one of fa-invariant, fa-variant"},
      {{"--mode", "variant", "--receipts", "/dev/null"}, "--receipts contradicts mode variant"}};
  for (const auto& [flags, message] : refused) {
    std::vector<std::string> arguments = {"generate", "--model", "/nowhere", "--prompt", "a"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const ProgramResult result = Vexact(arguments);
    EXPECT_EQ(result.exit_status, 2);
    EXPECT_THAT(result.err, HasSubstr(message));
  }
  const ProgramResult verify =
      Vexact({"verify", "/nowhere.jsonl", "--model", "/nowhere", "--mode", "variant"});
  EXPECT_EQ(verify.exit_status, 2);
  EXPECT_THAT(verify.err, HasSubstr("verify contradicts mode variant"));
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

TEST(Tokenize, AnswersWhileTheWriterIsStillThere) {
  RunningProgram program(VexactPath(), {"tokenize", "--model", TinyModel(), "--input", "-"});
  program.Write("{\"prompt\": \"a\"}\n");
  EXPECT_TRUE(program.WaitForLines(1));
  program.CloseInput();
  EXPECT_EQ(program.Wait().exit_status, 0);
}

TEST(Inspect, APathThatIsNotUtf8IsShownAllTheSame) {
  const TempDir folder;
  const std::string path = folder.path() + "/tiny\xff";
  std::filesystem::create_directory_symlink(TinyModel(), path);
  const ProgramResult result = Vexact({"inspect", "--model", path, "--json", "--tensors"});
  ASSERT_EQ(result.exit_status, 0) << result.err;
  EXPECT_THAT(JsonLines(result.out).at(0)["tensor_list"][0]["file"].get<std::string>(),
              HasSubstr("tiny\ufffd"));
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
  for (const char* label :
       {"requests/s", "total tokens/s", "output tokens/s", "wall time", "average latency",
        "P50 latency", "P95 latency", "host time/step", "device idle"}) {
    EXPECT_THAT(result.out, HasSubstr(label));
  }
  const json figures = json::parse(ReadFileOrDie(path));
  EXPECT_EQ(figures["num_requests"], 3);
  EXPECT_EQ(figures["prompt_tokens"], 60);
  EXPECT_EQ(figures["output_tokens"], 15);
  EXPECT_GT(figures["output_tokens_per_s"], 0.0);
  EXPECT_GE(figures["p95_latency_s"], figures["p50_latency_s"]);
  EXPECT_GE(figures["num_steps"], 5);
  EXPECT_GT(figures["host_us_per_step"], 0.0);
  EXPECT_GE(figures["idle_percent"], 0.0);
}

TEST(BenchThroughput, MoreThanMemoryHoldsIsAFailureWithAReason) {
  const ProgramResult result = Vexact(
      {"bench", "throughput", "--model", TinyModel(), "--num-requests", "9223372036854775807"});
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, HasSubstr("expected the memory that was asked for"));
}

TEST(BenchThroughput, ASignalEndsTheWaitForRequests) {
  RunningProgram program(VexactPath(),
                         {"bench", "throughput", "--model", TinyModel(), "--input", "-"});
  program.Write("{\"prompt\": \"a\"}\n");
  // Long enough to load the model and to wait for the next line.
  std::this_thread::sleep_for(std::chrono::seconds(1));
  program.Signal(SIGINT);
  EXPECT_EQ(program.Wait().exit_status, 128 + SIGINT);
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

// Bytes are tokens here.
TEST(BenchThroughput, TakesTheConversationsOfADatasetThatFit) {
  const auto conversation = [](int prompt, int output) {
    return json{{"conversations",
                 {{{"value", std::string(prompt, 'a')}}, {{"value", std::string(output, 'b')}}}}};
  };
  const json conversations = {conversation(4, 4),
                              conversation(3, 9),        // the prompt is too short
                              conversation(1025, 9),     // and too long
                              conversation(9, 3),        // the output is too short
                              conversation(1000, 1049),  // both are too long
                              json{{"conversations", {{{"value", "one turn"}}}}},
                              json{{"id", 7}}};
  const TempDir folder;
  const std::string dataset = folder.Write("d.json", conversations.dump());
  const std::string json_path = folder.path() + "/bench.json";
  const auto run = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"bench",          "throughput", "--model", TinyModel(),
                                          "--dataset-path", dataset,      "--json",  json_path};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = Vexact(arguments);
    EXPECT_EQ(result.exit_status, 0) << result.err;
    return json::parse(ReadFileOrDie(json_path));
  };
  const json one = run({});
  EXPECT_EQ(one["num_requests"], 1);
  EXPECT_EQ(one["prompt_tokens"], 4);
  EXPECT_EQ(one["output_tokens"], 4);
  // Outputs of a given length: the short one and the last fit now.
  const json three = run({"--output-len", "5"});
  EXPECT_EQ(three["num_requests"], 3);
  EXPECT_EQ(three["prompt_tokens"], 4 + 9 + 1000);
  EXPECT_EQ(three["output_tokens"], 15);
  EXPECT_EQ(run({"--output-len", "5", "--num-requests", "2"})["num_requests"], 2);
}

TEST(Demo, ProvesInvarianceOfATinyModel) {
  const ProgramResult result = RunProgram(BinaryDir() + "/vexact_demo", {"--model", TinyModel()});
  EXPECT_EQ(result.exit_status, 0) << result.out << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("mode invariant: 7 ways, distinct digests: 1"),
                                HasSubstr("mode variant: 3 ways"), HasSubstr("proven")));
}

}  // namespace
}  // namespace vexact
