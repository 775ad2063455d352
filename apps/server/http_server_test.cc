#include "server/http_server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include "support/http_client.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// Waits for a condition that another thread brings about.
template <typename F>
bool Eventually(F condition) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < limit) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

// A handler that answers as the request's path says: /echo its body at once, /stream its body in
// pieces of one byte as they are asked for, /never not until it is cancelled, /flood without end.
class HttpServerTest : public testing::Test {
 protected:
  static HttpServerOptions Options() {
    HttpServerOptions options;
    options.port = 0;
    return options;
  }

  void Start(const HttpServerOptions& options) {
    auto started = HttpServer::Start(options, [this](HttpRequest request, Wake wake) {
      return Answer(std::move(request), std::move(wake));
    });
    ASSERT_TRUE(started.ok()) << started.error().message;
    server_ = std::move(started).value();
  }

  PendingAnswer Answer(HttpRequest request, Wake wake) {
    ++num_requests_;
    const auto cancel = [this] { ++num_cancelled_; };
    if (request.path == "/never") return {.next = [] { return AnswerNews(); }, .cancel = cancel};
    if (request.path == "/flood") {
      return {.next =
                  [first = true]() mutable {
                    AnswerNews news{.bytes = std::string(1 << 16, 'x')};
                    if (std::exchange(first, false)) news.head = HttpResponse{};
                    return news;
                  },
              .cancel = cancel};
    }
    if (request.path == "/stream") {
      return {.next =
                  [body = request.body, position = size_t{0}, wake]() mutable {
                    AnswerNews news;
                    if (position == 0) news.head = HttpResponse{.content_type = "text/plain"};
                    if (position < body.size()) news.bytes = body.substr(position, 1);
                    news.end = ++position > body.size();
                    return news;
                  },
              .cancel = cancel};
    }
    return ReadyAnswer({.body = request.method + " " + request.path + " " + request.body});
  }

  HttpClient Connect() const { return HttpClient(server_->port()); }

  std::atomic<int> num_requests_ = 0;
  std::atomic<int> num_cancelled_ = 0;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersManyRequestsOfOneConnectionAlsoWhenTheyComeAtOnce) {
  Start(Options());
  HttpClient client = Connect();
  for (int i = 0; i < 3; ++i) {
    const auto reply = client.Post("/echo?x=1", fmt::format("body {}", i));
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->status, 200);
    EXPECT_EQ(reply->body, fmt::format("POST /echo body {}", i));
  }
  ASSERT_TRUE(client.Send(PostBytes("/stream", "first") + PostBytes("/echo", "second")));
  EXPECT_EQ(client.Receive().value().body, "first");
  EXPECT_EQ(client.Receive().value().body, "POST /echo second");
}

TEST_F(HttpServerTest, StreamsInChunksAndToOldClientsUntilTheConnectionEnds) {
  Start(Options());
  HttpClient client = Connect();
  const auto reply = client.Post("/stream", "in pieces");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->headers.at("transfer-encoding"), "chunked");
  EXPECT_EQ(reply->body, "in pieces");
  HttpClient old = Connect();
  old.Send("POST /stream HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
  const std::string all = old.ReceiveAll();
  EXPECT_THAT(all, StartsWith("HTTP/1.0 200"));
  EXPECT_TRUE(all.ends_with("\r\n\r\nabc")) << all;
}

// The body of its answer, which no client expects, would be read as the next answer.
TEST_F(HttpServerTest, AHeadEndsItsConnection) {
  Start(Options());
  HttpClient client = Connect();
  client.Send("HEAD /echo HTTP/1.1\r\nHost: test\r\n\r\n");
  EXPECT_THAT(client.ReceiveAll(), StartsWith("HTTP/1.1 200"));
  EXPECT_FALSE(client.Get("/echo"));
}

TEST_F(HttpServerTest, RefusesWhatIsTooLargeOrNoHttpAndSaysWhy) {
  HttpServerOptions options = Options();
  options.max_body_bytes = 1000;
  options.max_header_bytes = 2000;
  Start(options);
  const std::vector<std::pair<std::string, int>> cases = {
      {PostBytes("/echo", std::string(1001, 'x')), 413},
      {"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7d1\r\n" + std::string(2001, 'x'),
       413},
      {"GET / HTTP/1.1\r\nX: " + std::string(3000, 'x') + "\r\n\r\n", 431},
      {"\x16\x03\x01 hello\r\n\r\n", 400},
      {"GET / HTTP/9.9\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
  };
  for (const auto& [bytes, status] : cases) {
    HttpClient client = Connect();
    client.Send(bytes);
    const auto reply = client.Receive();
    ASSERT_TRUE(reply) << bytes.substr(0, 60);
    EXPECT_EQ(reply->status, status) << bytes.substr(0, 60);
    EXPECT_THAT(reply->body, StartsWith("{\"error\":{\"message\":"));
    EXPECT_EQ(client.ReceiveAll(), "");  // and is closed
  }
  EXPECT_EQ(num_requests_, 0);
  EXPECT_EQ(Connect().Post("/echo", std::string(1000, 'x')).value().status, 200);
}

TEST_F(HttpServerTest, ASlowSenderIsClosedAndHoldsUpNobody) {
  HttpServerOptions options = Options();
  options.num_threads = 1;
  options.header_timeout_s = 0.3;
  options.body_timeout_s = 0.3;
  options.idle_timeout_s = 0.3;
  Start(options);
  const std::string slow_header = "GET / HTTP/1.1\r\nX-Long: ";
  const std::string slow_body = "POST /echo HTTP/1.1\r\nContent-Length: 1000\r\n\r\n";
  for (const std::string& beginning : {slow_header, slow_body, std::string()}) {
    HttpClient slow = Connect();
    slow.Send(beginning);
    EXPECT_EQ(Connect().Get("/echo").value().status, 200);
    bool is_open = true;
    for (int i = 0; i < 200 && is_open; ++i) {  // one byte after another, for ever
      if (!beginning.empty()) is_open = slow.Send("x");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      if (beginning.empty() && i > 100) break;
    }
    EXPECT_EQ(slow.ReceiveAll(1), "") << beginning;
    EXPECT_TRUE(beginning.empty() || !is_open) << beginning;
  }
  EXPECT_TRUE(Eventually([this] { return server_->num_connections() == 0; }));
}

TEST_F(HttpServerTest, AClientThatGoesAwayCancelsItsAnswer) {
  Start(Options());
  for (const bool is_killed : {false, true}) {
    num_requests_ = 0;
    num_cancelled_ = 0;
    {
      HttpClient client = Connect();
      client.Send(PostBytes("/never", ""));
      ASSERT_TRUE(Eventually([this] { return num_requests_ == 1; }));
      EXPECT_EQ(num_cancelled_, 0);
      if (is_killed) client.Kill();
    }
    EXPECT_TRUE(Eventually([this] { return num_cancelled_ == 1; })) << is_killed;
  }
}

TEST_F(HttpServerTest, AClientThatDoesNotReadIsCancelled) {
  HttpServerOptions options = Options();
  options.write_timeout_s = 0.3;
  Start(options);
  HttpClient client = Connect();
  client.Send(PostBytes("/flood", ""));
  EXPECT_TRUE(Eventually([this] { return num_cancelled_ == 1; }));
}

TEST_F(HttpServerTest, StopsByClosingIdleConnectionsAndDeliveringAnswers) {
  Start(Options());
  HttpClient idle = Connect();
  HttpClient busy = Connect();
  EXPECT_EQ(idle.Get("/echo").value().status, 200);
  busy.Send("POST /echo HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_EQ(busy.Receive().value().status, 100);  // half of its request is read
  ASSERT_EQ(server_->num_connections(), 2);
  server_->StopAccepting();
  EXPECT_EQ(idle.ReceiveAll(), "");
  busy.Send("abcd");
  EXPECT_EQ(busy.Receive().value().body, "POST /echo abcd");
  EXPECT_EQ(busy.ReceiveAll(), "");
  EXPECT_TRUE(Eventually([this] { return server_->num_connections() == 0; }));
}

TEST_F(HttpServerTest, ItsEndCancelsWhatIsInTheMaking) {
  Start(Options());
  HttpClient client = Connect();
  client.Send(PostBytes("/never", ""));
  ASSERT_TRUE(Eventually([this] { return num_requests_ == 1; }));
  server_.reset();
  EXPECT_EQ(num_cancelled_, 1);
}

TEST_F(HttpServerTest, AnAddressThatIsTakenOrWrongIsAnError) {
  Start(Options());
  HttpServerOptions options = Options();
  options.port = server_->port();
  const auto handler = [](HttpRequest, const Wake&) { return ReadyAnswer({}); };
  const auto taken = HttpServer::Start(options, handler);
  ASSERT_FALSE(taken.ok());
  EXPECT_THAT(taken.error().message, HasSubstr("expected a free address"));
  options.host = "nowhere.example";
  EXPECT_FALSE(HttpServer::Start(options, handler).ok());
}

// Whatever bytes come: the server answers or closes, and still serves the next client.
TEST_F(HttpServerTest, SurvivesMutatedRequests) {
  HttpServerOptions options = Options();
  options.idle_timeout_s = 0.02;  // a client waits for the end of its connection
  options.header_timeout_s = 0.02;
  options.body_timeout_s = 0.02;
  Start(options);
  std::mt19937 random(7);
  const std::string valid =
      PostBytes("/echo", "abcdef", "Expect: 100-continue\r\nConnection: keep-alive\r\n");
  for (int i = 0; i < ScaledCases(300, 30); ++i) {
    std::string bytes = valid;
    for (uint32_t edits = 1 + random() % 4; edits > 0; --edits) {
      const size_t position = random() % bytes.size();
      switch (random() % 3) {
        case 0:
          bytes[position] = static_cast<char>(random());
          break;
        case 1:
          bytes.erase(position, 1 + random() % 8);
          break;
        default:
          bytes.insert(position, bytes.substr(random() % bytes.size(), random() % 16));
      }
    }
    HttpClient client = Connect();
    client.Send(bytes);
    const std::string answer = client.ReceiveAll(1);
    EXPECT_TRUE(answer.empty() || answer.starts_with("HTTP/1.")) << bytes << "\n" << answer;
  }
  EXPECT_EQ(Connect().Post("/echo", "after").value().body, "POST /echo after");
}

}  // namespace
}  // namespace vexact
