// `vexact generate --receipts` and `vexact verify`: what one wrote the other computes again, and
// finds every change.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>

#include "support/cli.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

// Every kind of request: drawn and greedy, several samples, reports, penalties, stops, processed.
std::string Requests() {
  const std::vector<json> requests = {
      {{"prompt", "The receipt"},
       {"max_tokens", 12},
       {"n", 2},
       {"logprobs", 2},
       {"prompt_logprobs", 1},
       {"seed", 7},
       {"ignore_eos", true}},
      {{"prompt", std::string(300, 'x')}, {"max_tokens", 9}},
      {{"prompt", "abc"}, {"max_tokens", 14}, {"temperature", 0}, {"logprobs", 0}},
      {{"prompt_token_ids", {5, 6, 7}},
       {"max_tokens", 24},
       {"top_p", 0.9},
       {"min_p", 0.001},
       {"repetition_penalty", 1.2},
       {"presence_penalty", 0.3},
       {"frequency_penalty", 0.2},
       {"logit_bias", {{"70", 2.5}, {"9", -1.1}}},
       {"min_tokens", 10},
       {"bad_words", {"a", "bc"}},
       {"stop", {"e", "\u00e9\n"}},
       {"n", 3},
       {"cache_salt", "s"}},
      {{"prompt", "q"},
       {"max_tokens", 30},
       {"allowed_token_ids", {3, 4, 5, 100, 101, 102}},
       {"stop_token_ids", {101}}}};
  std::string lines;
  for (const json& request : requests) lines += request.dump() + "\n";
  return lines;
}

class Receipts : public testing::Test {
 protected:
  // The cache of weights ids is the user's otherwise.
  Receipts() {
    if (const char* own = std::getenv("VEXACT_CACHE")) own_cache_ = own;
    setenv("VEXACT_CACHE", (folder_.path() + "/cache").c_str(), 1);
  }
  ~Receipts() override {
    if (own_cache_) {
      setenv("VEXACT_CACHE", own_cache_->c_str(), 1);
    } else {
      unsetenv("VEXACT_CACHE");
    }
  }

  // The receipts' lines.
  std::vector<json> Generate(const std::string& requests,
                             const std::vector<std::string>& flags = {},
                             int exit_status = 0) const {
    const std::string path = folder_.path() + "/receipts.jsonl";
    std::vector<std::string> all = {"--receipts", path};
    all.insert(all.end(), flags.begin(), flags.end());
    const ProgramResult result = RunRequests("generate", requests, all);
    EXPECT_EQ(result.exit_status, exit_status) << result.err;
    return JsonLines(ReadFileOrDie(path));
  }

  ProgramResult Verify(const std::vector<json>& receipts,
                       const std::vector<std::string>& flags = {}) const {
    std::string lines;
    for (const json& receipt : receipts) lines += receipt.dump() + "\n";
    std::vector<std::string> all = {"verify", "-", "--model", TinyModel()};
    all.insert(all.end(), flags.begin(), flags.end());
    return Vexact(all, lines);
  }

  TempDir folder_;
  std::optional<std::string> own_cache_;
};

TEST_F(Receipts, OfAnyScheduleAreEqualUnderAnyOther) {
  const auto receipts = Generate(Requests());
  ASSERT_EQ(receipts.size(), 5u);
  const auto again = Generate(Requests(), {"--max-num-batched-tokens", "16", "--threads", "1"});
  EXPECT_EQ(again, receipts);
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{},
        {"--max-num-batched-tokens", "16", "--block-size", "64", "--max-num-seqs", "2"},
        {"--no-enable-prefix-caching", "--pipeline-depth", "0", "--seed", "99"}}) {
    const ProgramResult result = Verify(receipts, flags);
    EXPECT_EQ(result.exit_status, 0) << result.err << result.out;
    const auto verdicts = JsonLines(result.out);
    ASSERT_EQ(verdicts.size(), receipts.size());
    for (size_t i = 0; i < verdicts.size(); ++i) {
      EXPECT_EQ(verdicts[i], (json{{"line", i + 1}, {"index", i}, {"equal", true}}));
    }
  }
}

TEST_F(Receipts, WhereThereAreNoneNothingIsProven) {
  const ProgramResult result = Verify({});
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, HasSubstr("expected receipts, found none"));
}

TEST_F(Receipts, NameTheMaskAndWhatARequestSaysOfIt) {
  const json request = {
      {"prompt_token_ids", {5, 6, 7, 8, 9}}, {"prefix_len", 4}, {"max_tokens", 8}};
  const auto receipts = Generate(request.dump() + "\n", {"--mask", "prefix-lm"});
  ASSERT_EQ(receipts.size(), 1u);
  EXPECT_EQ(receipts[0]["mask"], "prefix-lm");
  EXPECT_EQ(receipts[0]["request"]["prefix_len"], 4);
  const ProgramResult same =
      Verify(receipts, {"--mask", "prefix-lm", "--max-num-batched-tokens", "4"});
  EXPECT_EQ(same.exit_status, 0) << same.err << same.out;
  const ProgramResult causal = Verify(receipts);
  EXPECT_EQ(causal.exit_status, 1);
  EXPECT_THAT(causal.err,
              testing::HasSubstr("\"mask\": expected this model's, causal, found prefix-lm"));
}

TEST_F(Receipts, ARequestOfAReceiptIsALineOfGenerate) {
  const auto receipts = Generate(Requests());
  std::string lines;
  for (const json& receipt : receipts) lines += receipt["request"].dump() + "\n";
  const auto again = Generate(lines, {"--seed", "5"});
  ASSERT_EQ(again.size(), receipts.size());
  for (size_t i = 0; i < receipts.size(); ++i) {
    EXPECT_EQ(again[i]["outputs"], receipts[i]["outputs"]);
    EXPECT_EQ(again[i]["request"], receipts[i]["request"]);
  }
}

TEST_F(Receipts, ProcessedLogprobsAndACutContextAreRepeated) {
  const auto receipts =
      Generate(Requests(), {"--logprobs-mode", "processed_logprobs", "--max-model-len", "310"});
  EXPECT_EQ(receipts[0]["logprobs_mode"], "processed_logprobs");
  EXPECT_EQ(receipts[1]["request"]["max_tokens"], 9);
  const ProgramResult result = Verify(receipts);
  EXPECT_EQ(result.exit_status, 0) << result.err << result.out;
  const auto cut =
      Generate(R"({"prompt_token_ids": [5, 6, 7], "max_tokens": 50, "min_tokens": 40})",
               {"--max-model-len", "10"});
  EXPECT_EQ(cut[0]["request"]["max_tokens"], 7);
  EXPECT_EQ(Verify(cut).exit_status, 0);
}

TEST_F(Receipts, EveryChangeOfAnAnswerIsFound) {
  const json receipt = Generate(Requests())[0];
  struct Change {
    const char* place;  // JSON pointer
    json value;         // discarded: the place is removed
    json verdict;       // without line, index, equal, receipt, replay
  };
  const json removed = json(json::value_t::discarded);
  const auto at = [](const json& output, const json& position, const char* field) {
    return json{{"output", output}, {"position", position}, {"field", field}};
  };
  const std::vector<Change> changes = {
      {"/outputs/1/tokens/3/token_id", 319, at(1, 3, "token_id")},
      {"/outputs/0/tokens/2/logprob", "bf800000", at(0, 2, "logprob")},
      {"/outputs/1/tokens/11/logprob", "80000001", at(1, 11, "logprob")},
      {"/outputs/0/tokens/0/rank", 300, at(0, 0, "rank")},
      {"/outputs/0/tokens/1/top/1/token_id", 0, at(0, 1, "top[1].token_id")},
      {"/outputs/0/tokens/1/top/0/logprob", "c0000000", at(0, 1, "top[0].logprob")},
      {"/outputs/0/tokens/4/top/1", removed, at(0, 4, "top")},
      {"/outputs/0/tokens/11", removed, at(0, nullptr, "finish_reason")},
      {"/outputs/0/tokens/2", removed, at(0, 2, "token_id")},
      {"/outputs/1/tokens/0/token_id", 5000, at(nullptr, nullptr, "error")},
      {"/outputs/0/finish_reason", "stop", at(0, nullptr, "finish_reason")},
      {"/outputs/1/stop_reason", 5, at(1, nullptr, "stop_reason")},
      {"/outputs/1/stop_reason", "e", at(1, nullptr, "stop_reason")},
      {"/outputs/1/error", "none", at(1, nullptr, "error")},
      {"/prompt_logprobs/0/logprob", "bf800000", at(nullptr, 1, "prompt_logprobs.logprob")},
      {"/prompt_logprobs/9/rank", 7777, at(nullptr, 10, "prompt_logprobs.rank")},
      {"/prompt_logprobs", nullptr, at(nullptr, 1, "prompt_logprobs.token_id")},
  };
  std::vector<json> changed;
  for (const Change& change : changes) {
    const json::json_pointer place(change.place);
    json copy = receipt;
    if (change.value.is_discarded()) {
      copy[place.parent_pointer()].erase(std::stoul(place.back()));
    } else {
      copy[place] = change.value;
    }
    ASSERT_NE(copy, receipt) << change.place;
    changed.push_back(copy);
  }
  changed.push_back(receipt);
  const ProgramResult result = Verify(changed);
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, HasSubstr(fmt::format("{} receipts, 1 equal", changed.size())));
  const auto verdicts = JsonLines(result.out);
  ASSERT_EQ(verdicts.size(), changed.size());
  for (size_t i = 0; i < changes.size(); ++i) {
    EXPECT_EQ(verdicts[i]["equal"], false);
    EXPECT_NE(verdicts[i]["receipt"], verdicts[i]["replay"]);
    for (const auto& [key, value] : changes[i].verdict.items()) {
      EXPECT_EQ(verdicts[i][key], value) << changes[i].place << verdicts[i];
    }
  }
  EXPECT_EQ(verdicts.back()["equal"], true);
}

TEST_F(Receipts, AChangeOfTheRequestChangesTheReplay) {
  const json receipt =
      Generate(R"({"prompt": "The receipt", "max_tokens": 12, "seed": 7, "ignore_eos": true})")[0];
  const json& tokens = receipt["outputs"][0]["tokens"];
  const int first = tokens[0]["token_id"];
  const std::vector<std::pair<const char*, json>> changes = {
      {"seed", 8},
      {"temperature", 0.02},
      {"top_p", 0.0001},
      {"top_k", 1},
      {"min_p", 1.0},
      {"max_tokens", 11},
      {"logit_bias", json::object({{"100", 100.0}})},
      {"allowed_token_ids", json::array({100})},
      {"stop_token_ids", json::array({tokens[3]["token_id"]})},
      {"repetition_penalty", 100.0},
      {"frequency_penalty", -2.0},
      {"presence_penalty", -2.0},
      {"prompt_token_ids", {5, 6, 7}},
  };
  std::vector<json> changed;
  for (const auto& [field, value] : changes) {
    json copy = receipt;
    copy["request"][field] = value;
    changed.push_back(copy);
  }
  json processed = receipt;
  processed["logprobs_mode"] = "processed_logprobs";
  processed["request"]["logit_bias"] = json::object({{std::to_string(first), 1e-3}});
  changed.push_back(processed);
  const ProgramResult result = Verify(changed);
  EXPECT_EQ(result.exit_status, 1);
  const auto verdicts = JsonLines(result.out);
  ASSERT_EQ(verdicts.size(), changed.size()) << result.err;
  for (size_t i = 0; i < changed.size(); ++i) {
    EXPECT_EQ(verdicts[i]["equal"], false) << changed[i]["request"];
    EXPECT_TRUE(verdicts[i]["position"].is_number()) << verdicts[i];
  }
}

TEST_F(Receipts, OfAnotherModelAreRefusedWithBothNames) {
  const auto receipts = Generate(Requests());
  const std::vector<std::pair<std::string, json>> changes = {{"profile", "sm80"},
                                                             {"weights_id", std::string(64, '0')},
                                                             {"tokenizer_id", nullptr},
                                                             {"tokenizer_id", std::string(64, 'a')},
                                                             {"eos_token_ids", {2}}};
  for (const auto& [field, value] : changes) {
    std::vector<json> changed = receipts;
    changed[3][field] = value;
    const ProgramResult result = Verify(changed);
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr("line 4: \"" + field + "\""));
    const std::string ours = receipts[3][field].is_string() ? receipts[3][field].get<std::string>()
                                                            : std::string("[2, 3]");
    const std::string theirs = value.is_null()     ? "none"
                               : value.is_string() ? value.get<std::string>()
                                                   : std::string("[2]");
    EXPECT_THAT(result.err, HasSubstr("expected this model's, " + ours + ", found " + theirs));
  }
  std::vector<json> versions = receipts;
  versions[0]["engine_version"] = "9.9.9";
  const ProgramResult result = Verify(versions);
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("line 1: made by version 9.9.9, replayed by "));
}

TEST_F(Receipts, WhatIsNoReceiptIsNamed) {
  const json receipt = Generate(Requests())[0];
  const auto error = [&](const std::function<void(json&)>& change) {
    json copy = receipt;
    change(copy);
    const ProgramResult result = Verify({receipt, copy});
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr("line 2"));
    return result.err;
  };
  for (const auto& item : receipt.items()) {
    if (item.key() == "prompt_logprobs" || item.key() == "tokenizer_id") continue;  // may be null
    EXPECT_THAT(error([&](json& r) { r.erase(item.key()); }),
                HasSubstr("\"" + item.key() + "\": expected"));
  }
  EXPECT_THAT(error([](json& r) { r["extra"] = 1; }), HasSubstr("\"extra\""));
  EXPECT_THAT(error([](json& r) { r["request"]["best_of"] = 1; }), HasSubstr("\"best_of\""));
  EXPECT_THAT(error([](json& r) { r["request"].erase("seed"); }), HasSubstr("\"seed\""));
  EXPECT_THAT(error([](json& r) { r["outputs"].erase(0); }), HasSubstr("n of the request (2)"));
  EXPECT_THAT(error([](json& r) { r["outputs"][1]["tokens"][2]["logprob"] = "bf8000"; }),
              AllOf(HasSubstr("tokens[2].logprob"), HasSubstr("8 hexadecimal digits")));
  EXPECT_THAT(error([](json& r) { r["outputs"][0]["finish_reason"] = "tired"; }),
              HasSubstr("finish_reason"));
  EXPECT_EQ(Vexact({"verify", "--model", TinyModel()}).exit_status, 2);
  EXPECT_EQ(Vexact({"verify", "/nowhere", "--model", TinyModel()}).exit_status, 1);
}

TEST_F(Receipts, RefusedRequestsHaveNoneAndFailedOnesHaveTheirError) {
  const auto receipts = Generate("nonsense\n" + Requests(), {}, 1);
  ASSERT_EQ(receipts.size(), 5u);
  EXPECT_EQ(receipts[0]["index"], 1);
  EXPECT_EQ(Verify(receipts).exit_status, 0);
  // A bias above the limit of logits fails when it is drawn from.
  const auto failed =
      Generate(R"({"prompt": "a", "max_tokens": 3, "logit_bias": {"7": 1e30}})", {}, 1);
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0]["outputs"][0]["finish_reason"], "error");
  EXPECT_EQ(Verify(failed).exit_status, 0);
}

TEST_F(Receipts, OfTimedOutRequestsAreTheBeginningOfTheReplay) {
  const auto receipts =
      Generate(R"({"prompt": "a", "max_tokens": 4000, "ignore_eos": true, "seed": 1})",
               {"--request-timeout-s", "0.3"});
  ASSERT_EQ(receipts[0]["outputs"][0]["finish_reason"], "timeout");
  std::vector<json> changed = receipts;
  json& request = changed[0]["request"];
  request["max_tokens"] = changed[0]["outputs"][0]["tokens"].size() + 5;
  EXPECT_EQ(Verify(changed).exit_status, 0);
  changed[0]["outputs"][0]["tokens"][0]["rank"] = 319;
  EXPECT_EQ(Verify(changed).exit_status, 1);
}

TEST_F(Receipts, ATimeoutOfTheReplayIsNoDifference) {
  auto receipts = Generate(Requests());
  // No replay is done in a nanosecond.
  const std::vector<std::string> at_once = {"--request-timeout-s", "1e-9", "--quiet"};
  const ProgramResult none = Verify(receipts, at_once);
  EXPECT_EQ(none.exit_status, 3) << none.err;
  EXPECT_THAT(none.err, HasSubstr("expected every replay within --request-timeout-s (1e-09 s), "
                                  "found 5 of 5 timed out"));
  const auto verdicts = JsonLines(none.out);
  ASSERT_EQ(verdicts.size(), 5u);
  for (size_t i = 0; i < verdicts.size(); ++i) {
    EXPECT_EQ(verdicts[i],
              (json{{"line", i + 1}, {"index", i}, {"equal", nullptr}, {"reason", "timeout"}}));
  }
  // One that differs decides the status. This one needs no replay: it has no tokens, and so cannot
  // have finished at its length.
  receipts[1]["outputs"][0]["tokens"] = json::array();
  receipts[1]["outputs"][0]["finish_reason"] = "length";
  const ProgramResult one = Verify(receipts, at_once);
  EXPECT_EQ(one.exit_status, 1) << one.err;
  EXPECT_EQ(JsonLines(one.out).at(1)["field"], "finish_reason");
  EXPECT_EQ(JsonLines(one.out).at(2)["equal"], nullptr);
}

TEST_F(Receipts, TheWeightsIdIsKeptInTheCacheFolder) {
  const auto receipts = Generate(Requests());
  const std::filesystem::directory_iterator cache(folder_.path() + "/cache");
  EXPECT_THAT(cache->path().filename().string(), testing::StartsWith("weights_id_"));
  EXPECT_THAT(ReadFileOrDie(cache->path()),
              testing::EndsWith(receipts[0]["weights_id"].get<std::string>()));
}

}  // namespace
}  // namespace vexact
