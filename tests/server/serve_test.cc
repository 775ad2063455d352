// `vexact serve` as its users run it: a program, sockets, signals, and the bits of the command
// line.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "support/cli.h"
#include "support/http_client.h"
#include "support/paths.h"
#include "support/smollm2.h"
#include "support/temp_dir.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// A running server; killed at its end if the test did not end it.
class Server {
 public:
  explicit Server(const std::string& model, std::vector<std::string> flags = {"--no-receipts"})
      : program_(VexactPath(), Arguments(model, std::move(flags))) {
    EXPECT_TRUE(program_.WaitForLines(1));
    const std::string address = program_.OutputSoFar();
    port_ = std::stoi(address.substr(address.rfind(':') + 1));
  }

  HttpClient Connect() const { return HttpClient(port_); }
  json Post(const std::string& path, const json& body) const {
    const auto reply = Connect().Post(path, body.dump());
    EXPECT_TRUE(reply && reply->status == 200) << body << (reply ? reply->body : "no reply");
    return reply ? json::parse(reply->body) : json();
  }
  // Of a metric without labels beside the model's name.
  double Metric(const std::string& name) const {
    const std::string text = Connect().Get("/metrics").value().body;
    const size_t line = text.find("\nvexact:" + name + "{");
    EXPECT_NE(line, std::string::npos) << text;
    return std::stod(text.substr(text.find("} ", line) + 2));
  }
  void Signal(int signal) const { program_.Signal(signal); }
  ProgramResult Wait() { return program_.Wait(); }

 private:
  static std::vector<std::string> Arguments(const std::string& model,
                                            std::vector<std::string> flags) {
    std::vector<std::string> arguments = {"serve", "--model",  model, "--port",
                                          "0",     "--device", "cpu"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return arguments;
  }

  RunningProgram program_;
  int32_t port_ = 0;
};

// What decides an answer, and its words: token ids and log-probabilities of all samples.
struct Words {
  std::vector<std::vector<int32_t>> token_ids;
  std::vector<std::vector<float>> logprobs;
  friend bool operator==(const Words&, const Words&) = default;
};

std::vector<json> Requests(int count) {
  std::vector<json> requests;
  for (int i = 0; i < count; ++i) {
    json ids = json::array();
    for (int k = 0; k < 3 + 11 * i % 70; ++k) ids.push_back(3 + (k * 7 + i * 31) % 250);
    requests.push_back({{"prompt", ids},
                        {"max_tokens", 4 + i % 9},
                        {"temperature", i % 3 == 0 ? 0.0 : 0.9},
                        {"seed", 100 + i},
                        {"n", 1 + i % 2},
                        {"logprobs", i % 3},
                        {"ignore_eos", i % 2 == 0}});
  }
  return requests;
}

// The command line's answers.
std::vector<Words> CliAnswers(const std::string& model, const std::vector<json>& requests) {
  std::string lines;
  for (json request : requests) {
    request["prompt_token_ids"] = request["prompt"];
    request.erase("prompt");
    lines += request.dump() + "\n";
  }
  const ProgramResult result =
      Vexact({"generate", "--model", model, "--input", "-", "--device", "cpu", "--quiet"}, lines);
  EXPECT_EQ(result.exit_status, 0) << result.err;
  std::vector<Words> answers;
  for (const json& line : JsonLines(result.out)) {
    Words& words = answers.emplace_back();
    for (const json& sample : line["outputs"]) {
      words.token_ids.push_back(sample["token_ids"]);
      std::vector<float>& logprobs = words.logprobs.emplace_back();
      for (const json& token : sample["logprobs"]) logprobs.push_back(token["logprob"]);
    }
  }
  return answers;
}

void AddChoice(const json& choice, Words& words) {
  const size_t index = choice["index"];
  words.token_ids.resize(std::max(words.token_ids.size(), index + 1));
  words.logprobs.resize(std::max(words.logprobs.size(), index + 1));
  for (const json& id : choice["token_ids"]) words.token_ids[index].push_back(id);
  for (const json& value : choice["logprobs"]["token_logprobs"]) {
    words.logprobs[index].push_back(value);
  }
}

Words ServerAnswer(const HttpReply& reply) {
  Words words;
  std::istringstream lines(reply.body);
  if (reply.headers.at("content-type") == "application/json") {
    const json answer = json::parse(reply.body);
    for (const json& choice : answer["choices"]) AddChoice(choice, words);
    return words;
  }
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("data: {")) continue;
    const json event = json::parse(line.substr(6));
    for (const json& choice : event["choices"]) AddChoice(choice, words);
  }
  return words;
}

// Asks for every request, from several threads, in an order of its own; clients that are killed in
// the middle of answers are between them.
std::vector<Words> AskAll(const Server& server, const std::vector<json>& requests, int num_threads,
                          bool stream, uint32_t seed) {
  std::vector<Words> answers(requests.size());
  std::vector<std::thread> threads;
  for (int t = 0; t < num_threads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(seed + static_cast<uint32_t>(t));
      HttpClient client = server.Connect();
      for (size_t i = static_cast<size_t>(t); i < requests.size();
           i += static_cast<size_t>(num_threads)) {
        json body = requests[i];
        body["return_token_ids"] = true;
        body["stream"] = stream;
        if (random() % 3 == 0) {
          HttpClient killed = server.Connect();
          killed.Send(PostBytes("/v1/completions", body.dump()));
          if (random() % 2 == 0) killed.Receive(0);
          killed.Kill();
        }
        const auto reply = client.Post("/v1/completions", body.dump());
        ASSERT_TRUE(reply);
        ASSERT_EQ(reply->status, 200) << reply->body;
        answers[i] = ServerAnswer(*reply);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return answers;
}

void ExpectTheBitsOfTheCommandLine(const std::string& model, int count) {
  const std::vector<json> requests = Requests(count);
  const std::vector<Words> expected = CliAnswers(model, requests);
  const Server server(model,
                      {"--max-num-seqs", "6", "--max-num-batched-tokens", "64", "--no-receipts"});
  EXPECT_TRUE(AskAll(server, requests, 1, /*stream=*/false, 1) == expected);
  EXPECT_TRUE(AskAll(server, requests, 8, /*stream=*/false, 2) == expected);
  EXPECT_TRUE(AskAll(server, requests, 8, /*stream=*/true, 3) == expected);
}

TEST(Serve, HasTheBitsOfTheCommandLineStreamedOrNotAndUnderLoad) {
  ExpectTheBitsOfTheCommandLine(TinyModel(), ScaledCases(40, 8));
}

TEST(Serve, HasThemWithoutATokenizer) {
  ExpectTheBitsOfTheCommandLine(SourceDir() + "/models/tiny-qwen3", ScaledCases(16, 6));
}

TEST(Serve, HasThemOnSmolLm2) {
  const std::string model = test::SmolLm2Path();
  if (model.empty()) GTEST_SKIP() << "SmolLM2 is not there; scripts/fetch_model fetches it";
  ExpectTheBitsOfTheCommandLine(model, 6);
}

// The tiny model with a real model's template, whose prompts are bytes to it.
class TemplatedModel {
 public:
  explicit TemplatedModel(const std::string& name) {
    namespace fs = std::filesystem;
    for (const auto& file : fs::directory_iterator(TinyModel())) {
      fs::copy_file(file.path(), fs::path(folder_.path()) / file.path().filename());
    }
    fs::copy_file(SourceDir() + "/tests/data/chat/templates/" + name + ".jinja",
                  fs::path(folder_.path()) / "chat_template.jinja",
                  fs::copy_options::overwrite_existing);
  }
  const std::string& path() const { return folder_.path(); }

 private:
  const TempDir folder_;
};

std::vector<json> Chats() {
  const json user = {{"role", "user"}, {"content", "What is 6 times 7?"}};
  const json tool = json::parse(
      R"({"type": "function", "function": {"name": "multiply", "parameters": {"type": "object"}}})");
  std::vector<json> chats = {
      {{"messages", {user}}},
      {{"messages", {{{"role", "system"}, {"content", "Be brief."}}, user}}},
      {{"messages", {user}}, {"tools", {tool}}},
      {{"messages", {user}}, {"chat_template_kwargs", {{"enable_thinking", false}}}},
  };
  for (size_t i = 0; i < chats.size(); ++i) {
    chats[i].update({{"max_tokens", 8}, {"seed", i}, {"temperature", 0.8}});
  }
  return chats;
}

// Returns the prompts' lengths.
std::set<int> ExpectTheChatsOfTheCommandLine(const std::string& model) {
  std::string lines;
  for (json chat : Chats()) lines += chat.dump() + "\n";
  const ProgramResult cli =
      Vexact({"generate", "--model", model, "--input", "-", "--device", "cpu", "--quiet"}, lines);
  EXPECT_EQ(cli.exit_status, 0) << cli.err;
  const std::vector<json> expected = JsonLines(cli.out);
  const Server server(model);
  std::set<int> lengths;
  for (size_t i = 0; i < expected.size(); ++i) {
    json body = Chats()[i];
    body["return_token_ids"] = true;
    const json answer = server.Post("/v1/chat/completions", body);
    const json& sample = expected[i]["outputs"][0];
    EXPECT_EQ(answer["choices"][0]["token_ids"], sample["token_ids"]) << body;
    EXPECT_EQ(answer["choices"][0]["message"]["content"], sample["text"]);
    lengths.insert(answer["usage"]["prompt_tokens"].get<int>());
  }
  return lengths;
}

TEST(Serve, AChatHasTheBitsOfTheCommandLine) {
  const TemplatedModel model("qwen3");  // which knows of tools and of thinking: four prompts
  EXPECT_EQ(ExpectTheChatsOfTheCommandLine(model.path()).size(), 4u);
}

TEST(Serve, AChatHasThemOnSmolLm2) {
  const std::string model = test::SmolLm2Path();
  if (model.empty()) GTEST_SKIP() << "SmolLM2 is not there; scripts/fetch_model fetches it";
  EXPECT_EQ(ExpectTheChatsOfTheCommandLine(model).size(), 2u);  // its template has neither
}

TEST(Serve, ItsReceiptsAreVerified) {
  const Server server(TinyModel(), {});
  std::string lines;
  for (json body : Requests(6)) {
    body["return_receipt"] = true;
    lines += server.Post("/v1/completions", body)["receipts"].at(0).dump() + "\n";
  }
  const ProgramResult verified = Vexact({"verify", "-", "--model", TinyModel()}, lines);
  EXPECT_EQ(verified.exit_status, 0) << verified.out << verified.err;
  EXPECT_EQ(JsonLines(verified.out).size(), 6u);
}

json LongRequest(int max_tokens) {
  return {{"prompt", {5, 6, 7}}, {"max_tokens", max_tokens}, {"ignore_eos", true}, {"seed", 1}};
}

TEST(Serve, SigtermDeliversWhatWasAskedForAndEndsWithSuccess) {
  Server server(TinyModel());
  HttpClient idle = server.Connect();
  HttpClient busy = server.Connect();
  EXPECT_EQ(idle.Get("/health").value().status, 200);
  busy.Send(PostBytes("/v1/completions", LongRequest(300).dump()));
  while (server.Metric("generation_tokens_total") < 5) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  server.Signal(SIGTERM);
  EXPECT_EQ(idle.ReceiveAll(), "");
  const auto reply = busy.Receive();
  ASSERT_TRUE(reply);
  EXPECT_EQ(json::parse(reply->body)["usage"]["completion_tokens"], 300);
  EXPECT_EQ(server.Wait().exit_status, 0);
}

TEST(Serve, ASecondSignalEndsItAtOnce) {
  Server server(TinyModel(), {"--max-num-batched-tokens", "1", "--no-receipts"});
  HttpClient idle = server.Connect();
  HttpClient busy = server.Connect();
  EXPECT_EQ(idle.Get("/health").value().status, 200);
  json endless = LongRequest(400);
  endless["n"] = 200;
  busy.Send(PostBytes("/v1/completions", endless.dump()));
  while (server.Metric("generation_tokens_total") < 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  server.Signal(SIGTERM);
  EXPECT_EQ(idle.ReceiveAll(60), "");  // it drains
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait().exit_status, 128 + SIGTERM);
}

TEST(Serve, KilledClientsLeaveNoWorkBehind) {
  constexpr int kTokens = 400;
  constexpr int kSamples = 4;
  const Server server(TinyModel());
  const int num_clients = ScaledCases(20, 4);
  for (int i = 0; i < num_clients; ++i) {
    HttpClient client = server.Connect();
    json body = LongRequest(kTokens);
    body["stream"] = i % 2 == 0;
    body["n"] = kSamples;
    client.Send(PostBytes("/v1/completions", body.dump()));
    if (i % 3 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    client.Kill();
  }
  double tokens = -1.0;
  for (double before = -2.0; tokens != before;) {
    before = tokens;
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    tokens = server.Metric("generation_tokens_total");
  }
  EXPECT_LT(tokens, 0.5 * num_clients * kSamples * kTokens);
  EXPECT_EQ(server.Post("/v1/completions", LongRequest(5))["usage"]["completion_tokens"], 5);
}

TEST(Serve, LogsEachAnswerAndNoPrompt) {
  Server server(TinyModel());
  EXPECT_EQ(server.Connect()
                .Post("/v1/completions", R"({"prompt": "secret words", "n": 0})")
                .value()
                .status,
            400);
  server.Signal(SIGINT);
  const ProgramResult result = server.Wait();
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_THAT(result.err, HasSubstr("\"endpoint\":\"/v1/completions\",\"status\":400"));
  EXPECT_EQ(result.err.find("secret"), std::string::npos);
}

TEST(Serve, ModeVariantSaysSoAndGivesNoReceipts) {
  const Server server(TinyModel(), {"--mode", "variant"});
  json body = {{"prompt", {5, 6, 7}}, {"max_tokens", 2}};
  const json answer = server.Post("/v1/completions", body);
  EXPECT_THAT(answer["system_fingerprint"].get<std::string>(), testing::EndsWith("-variant"));
  body["return_receipt"] = true;
  const auto refused = server.Connect().Post("/v1/completions", body.dump());
  EXPECT_EQ(refused.value().status, 400);
  EXPECT_EQ(json::parse(refused->body)["error"]["param"], "return_receipt");
}

TEST(Serve, APageOfAnAllowedOriginGetsItsPreflightAnswered) {
  const std::string preflight =
      "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\n"
      "Access-Control-Request-Method: POST\r\n"
      "Access-Control-Request-Headers: content-type\r\n\r\n";
  const auto ask = [&](const Server& server) {
    HttpClient client = server.Connect();
    client.Send(preflight);
    HttpReply reply = client.Receive().value();
    EXPECT_EQ(client.Get("/health").value().status, 200) << "the connection goes on";
    return reply;
  };
  const Server open(TinyModel(), {"--no-receipts", "--cors-allow-origin", "https://a.example"});
  const HttpReply yes = ask(open);
  EXPECT_EQ(yes.status, 204);
  EXPECT_EQ(yes.headers.at("access-control-allow-origin"), "https://a.example");
  EXPECT_EQ(yes.headers.at("access-control-allow-headers"), "content-type");
  for (const char* name : {"content-length", "transfer-encoding", "content-type"}) {
    EXPECT_FALSE(yes.headers.contains(name)) << name;
  }
  const Server closed(TinyModel());
  EXPECT_EQ(ask(closed).status, 405);
}

TEST(Serve, WrongFlagsAreWrongUsage) {
  const auto serve = [](const std::vector<std::string>& flags) {
    std::vector<std::string> arguments = {"serve", "--model", TinyModel()};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return Vexact(arguments);
  };
  EXPECT_EQ(serve({"--port", "70000"}).exit_status, 2);
  EXPECT_EQ(serve({"--io-threads", "0"}).exit_status, 2);
  EXPECT_EQ(serve({"--cors-allow-origin", "a.example"}).exit_status, 2);
  const ProgramResult taken = serve({"--host", "nowhere.example", "--port", "0"});
  EXPECT_EQ(taken.exit_status, 1);
  EXPECT_THAT(taken.err, HasSubstr("host: expected an IP address"));
}

}  // namespace
}  // namespace vexact
