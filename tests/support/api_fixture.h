// A tiny model behind the server's API, without sockets, and calls to it.
#ifndef VEXACT_SUPPORT_API_FIXTURE_H_
#define VEXACT_SUPPORT_API_FIXTURE_H_

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine_front.h"
#include "engine/load_model.h"
#include "kernels/backend.h"
#include "server/api.h"
#include "support/cli.h"

namespace vexact {

// What a connection would have got.
struct Reply {
  int status = 0;
  std::string content_type;
  std::map<std::string, std::string> headers;
  std::string body;

  nlohmann::json Json() const { return nlohmann::json::parse(body); }
  // The data of a stream's events.
  std::vector<nlohmann::json> Events() const {
    constexpr std::string_view kData = "data: ";
    constexpr std::string_view kDone = "data: [DONE]\n\n";
    EXPECT_TRUE(body.ends_with(kDone)) << body;
    std::vector<nlohmann::json> events;
    std::istringstream lines(body);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(kData) && line != "data: [DONE]") {
        events.push_back(nlohmann::json::parse(line.substr(kData.size())));
      }
    }
    return events;
  }
};

// One call as its connection holds it.
class Call {
 public:
  Call(Api& api, HttpRequest request)
      : answer_(api.Handle(std::move(request), [bell = bell_] {
          const std::lock_guard lock(bell->mutex);
          bell->rings = true;
          bell->changed.notify_all();
        })) {}

  // Reads to the end.
  Reply Finish() {
    while (!Step()) bell_->Wait();
    return reply_;
  }
  // Waits for news and takes it; whether it was the end.
  bool TakeNews() {
    bell_->Wait();
    return Step();
  }
  void Cancel() { answer_.cancel(); }
  const Reply& reply() const { return reply_; }

 private:
  struct Bell {
    std::mutex mutex;
    std::condition_variable changed;
    bool rings = false;
    void Wait() {
      std::unique_lock lock(mutex);
      ASSERT_TRUE(changed.wait_for(lock, std::chrono::minutes(2), [this] { return rings; }));
      rings = false;
    }
  };

  bool Step() {
    AnswerNews news = answer_.next();
    if (news.head) {
      reply_.status = news.head->status;
      reply_.content_type = news.head->content_type;
      for (const auto& [name, value] : news.head->headers) reply_.headers[name] = value;
      reply_.body += news.head->body;
    }
    reply_.body += news.bytes;
    return news.end;
  }

  std::shared_ptr<Bell> bell_ = std::make_shared<Bell>();
  PendingAnswer answer_;
  Reply reply_;
};

inline HttpRequest PostRequest(const std::string& path, const std::string& body) {
  return {.method = "POST",
          .path = path,
          .authorization = "",
          .content_type = "application/json; charset=utf-8",
          .body = body};
}

inline HttpRequest GetRequest(const std::string& path) {
  return {.method = "GET", .path = path, .authorization = "", .content_type = "", .body = ""};
}

class ApiFixture : public testing::Test {
 protected:
  ApiFixture() { Make(MakeBackend("cpu").value()); }

  void Make(std::shared_ptr<const Backend> backend) {
    api_.reset();
    front_.reset();
    model_ = LoadModel({.path = TinyModel()}, std::move(backend), {}).value();
    EngineConfig config;
    config.num_threads = 1;
    config.max_num_seqs = 8;
    config.kv_cache_memory_bytes = 1 << 20;
    config.eos_token_ids = model_.eos_token_ids;
    front_ =
        EngineFront::Create(Engine::Create(config, model_.model, model_.tokenizer).value()).value();
    options_.calls.model_name = "tiny";
    options_.calls.tokenizer = model_.tokenizer.get();
    options_.limits.max_open_samples = 24;
    ModelIdentity identity;
    identity.engine_version = "0";
    identity.profile = "p";
    identity.weights_id = "w";
    options_.identity = identity;
    Remake();
  }

  // With changed options.
  void Remake() {
    api_.reset();
    api_ = std::make_unique<Api>(options_, *front_);
  }

  Reply Post(const std::string& path, const nlohmann::json& body) {
    return PostText(path, body.dump());
  }
  Reply PostText(const std::string& path, const std::string& body) {
    return Call(*api_, PostRequest(path, body)).Finish();
  }
  Reply Get(const std::string& path) { return Call(*api_, GetRequest(path)).Finish(); }

  LoadedModel model_;
  std::unique_ptr<EngineFront> front_;
  ApiOptions options_;
  std::unique_ptr<Api> api_;
};

}  // namespace vexact

#endif  // VEXACT_SUPPORT_API_FIXTURE_H_
