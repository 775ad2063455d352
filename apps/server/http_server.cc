// budget: the one translation unit of Boost.Beast and Asio, which cost it half a minute.

#include "server/http_server.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>

#include "base/threads.h"
#include "server/error_response.h"

namespace vexact {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::beast::error_code;
using Tcp = net::ip::tcp;

// An operation's error is a value, not an exception.
constexpr auto kAwait = net::as_tuple(net::use_awaitable);
// What a client may still send after it was refused, so that it reads the refusal.
constexpr size_t kMaxDiscardedBytes = size_t{64} << 20;
constexpr std::chrono::seconds kDiscardTime(2);

std::chrono::steady_clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

HttpRequest ToRequest(http::request<http::string_body> message) {
  HttpRequest request;
  request.method = std::string(message.method_string());
  const std::string target(message.target());
  request.path = target.substr(0, target.find('?'));
  request.authorization = std::string(message[http::field::authorization]);
  request.content_type = std::string(message[http::field::content_type]);
  request.origin = std::string(message[http::field::origin]);
  request.requested_method = std::string(message[http::field::access_control_request_method]);
  request.requested_headers = std::string(message[http::field::access_control_request_headers]);
  request.body = std::move(message.body());
  return request;
}

template <typename Body>
void SetHead(const HttpResponse& response, http::response<Body>& message) {
  message.result(static_cast<unsigned>(response.status));
  if (!response.content_type.empty()) {
    message.set(http::field::content_type, response.content_type);
  }
  message.set("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : response.headers) message.set(name, value);
}

// What a client is told whose request could not be read; status 0: nothing, it is gone.
ApiError ReadingError(const error_code& error, const HttpServerOptions& options) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return {.status = 431,
            .message = fmt::format("header: expected at most {} bytes, found more",
                                   options.max_header_bytes)};
  }
  if (error == http::error::body_limit) {
    return {.status = 413,
            .message =
                fmt::format("body: expected at most {} bytes, found more", options.max_body_bytes)};
  }
  const bool is_malformed = error.category() == make_error_code(http::error::bad_value).category();
  if (!is_malformed || error == http::error::end_of_stream ||
      error == http::error::partial_message) {
    return {.status = 0};
  }
  return {.message = fmt::format("expected an HTTP/1.1 request, found: {}", error.message())};
}

class Connection;

// What connections share. Lives as long as anything that may wake one.
struct Shared {
  Shared(HttpServerOptions o, HttpHandler h)
      : options(std::move(o)), handler(std::move(h)), io(options.num_threads) {}

  const HttpServerOptions options;
  const HttpHandler handler;
  net::io_context io;
  std::atomic<bool> stopping = false;

  std::mutex mutex;  // guards what follows
  std::unordered_set<Connection*> connections;
  std::condition_variable fewer_connections;
};

// One client's connection. All but the constructor and the destructor runs on its strand.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Tcp::socket socket, std::shared_ptr<Shared> shared)
      : shared_(std::move(shared)),
        stream_(std::move(socket)),
        wake_timer_(stream_.get_executor()),
        buffer_(static_cast<size_t>(shared_->options.max_header_bytes) + kReadBytes) {
    const std::lock_guard lock(shared_->mutex);
    shared_->connections.insert(this);
  }

  ~Connection() {
    const std::lock_guard lock(shared_->mutex);
    shared_->connections.erase(this);
    shared_->fewer_connections.notify_all();
  }

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void Start() {
    // An exception (no memory) ends the connection and nothing else.
    net::co_spawn(
        stream_.get_executor(), [self = shared_from_this()] { return self->Serve(); },
        [self = shared_from_this()](const std::exception_ptr& /*ended*/) { self->Close(); });
  }

  // Ends the wait for a next request, or with `at_once` whatever is going on.
  void End(bool at_once) {
    net::post(stream_.get_executor(), [weak = weak_from_this(), at_once] {
      const auto self = weak.lock();
      if (self == nullptr || !(at_once || self->is_idle_)) return;
      self->client_is_gone_ = true;
      self->Close();
      self->wake_timer_.cancel();
    });
  }

 private:
  static constexpr size_t kReadBytes = size_t{64} << 10;

  const HttpServerOptions& options() const { return shared_->options; }

  void Close() { stream_.close(); }

  net::awaitable<void> Serve();
  // Whether another request may follow.
  net::awaitable<bool> ServeOne();
  net::awaitable<bool> AwaitRequest();
  net::awaitable<void> Refuse(error_code error);
  net::awaitable<bool> Deliver(PendingAnswer answer, unsigned http_version, bool keep_alive);
  net::awaitable<bool> WriteWhole(HttpResponse response, unsigned http_version, bool keep_alive);
  net::awaitable<bool> WriteHead(HttpResponse response, unsigned http_version);
  net::awaitable<bool> WritePiece(std::string bytes, bool chunked, bool is_last);
  net::awaitable<void> AwaitWake();
  Wake MakeWake();
  void WatchForHangUp(uint64_t watch);
  void StopWatching();

  const std::shared_ptr<Shared> shared_;
  boost::beast::tcp_stream stream_;
  net::steady_timer wake_timer_;  // never expires: a condition variable for coroutines
  boost::beast::flat_buffer buffer_;
  std::atomic<bool> wake_is_posted_ = false;
  bool is_woken_ = false;
  bool is_idle_ = true;
  bool client_is_gone_ = false;
  uint64_t watch_ = 0;  // counts requests: a late event of an old watch is passed over
};

net::awaitable<void> Connection::Serve() {
  error_code ignored;
  stream_.socket().set_option(Tcp::no_delay(true), ignored);
  stream_.socket().non_blocking(true, ignored);  // a look at what is there must not wait for it
  bool more = true;
  while (more && !shared_->stopping) more = co_await ServeOne();
  stream_.socket().shutdown(Tcp::socket::shutdown_send, ignored);
}

net::awaitable<bool> Connection::AwaitRequest() {
  if (buffer_.size() > 0) co_return true;
  is_idle_ = true;
  stream_.expires_after(Seconds(options().idle_timeout_s));
  const auto [error, size] = co_await stream_.async_read_some(buffer_.prepare(kReadBytes), kAwait);
  is_idle_ = false;
  if (error) co_return false;
  buffer_.commit(size);
  co_return true;
}

net::awaitable<bool> Connection::ServeOne() {
  const bool has_bytes = co_await AwaitRequest();
  if (!has_bytes) co_return false;
  http::request_parser<http::string_body> parser;
  parser.header_limit(static_cast<uint32_t>(options().max_header_bytes));
  parser.body_limit(static_cast<uint64_t>(options().max_body_bytes));
  stream_.expires_after(Seconds(options().header_timeout_s));
  const auto [head_error, head_size] =
      co_await http::async_read_header(stream_, buffer_, parser, kAwait);
  if (head_error) {
    co_await Refuse(head_error);
    co_return false;
  }
  stream_.expires_after(Seconds(options().body_timeout_s));
  if (parser.get()[http::field::expect] == "100-continue") {
    const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    const auto [error, size] = co_await net::async_write(stream_, net::buffer(go_on), kAwait);
    if (error) co_return false;
  }
  const auto [body_error, body_size] = co_await http::async_read(stream_, buffer_, parser, kAwait);
  if (body_error) {
    co_await Refuse(body_error);
    co_return false;
  }
  stream_.expires_never();
  const unsigned http_version = parser.get().version();
  // A HEAD is refused, and its refusal's body would be taken for the next answer.
  const bool keep_alive = parser.get().keep_alive() && parser.get().method() != http::verb::head;
  WatchForHangUp(++watch_);
  PendingAnswer answer = shared_->handler(ToRequest(parser.release()), MakeWake());
  const bool delivered = co_await Deliver(std::move(answer), http_version, keep_alive);
  StopWatching();
  co_return delivered&& keep_alive;
}

net::awaitable<void> Connection::Refuse(error_code error) {
  const ApiError told = ReadingError(error, options());
  if (told.status == 0) co_return;
  constexpr unsigned kHttp11 = 11;
  const bool written = co_await WriteWhole(ErrorResponse(told), kHttp11, /*keep_alive=*/false);
  if (!written) co_return;
  // Closing a socket with unread bytes resets it, and the client may lose what it was told.
  error_code ignored;
  stream_.socket().shutdown(Tcp::socket::shutdown_send, ignored);
  stream_.expires_after(kDiscardTime);
  std::string discarded(kReadBytes, '\0');
  for (size_t total = 0; total < kMaxDiscardedBytes;) {
    const auto [ended, size] = co_await stream_.async_read_some(net::buffer(discarded), kAwait);
    if (ended) co_return;
    total += size;
  }
}

// Cancels an answer that was not delivered to its end, however that came.
class CancelUnlessDone {
 public:
  explicit CancelUnlessDone(const PendingAnswer& answer) : answer_(answer) {}
  ~CancelUnlessDone() {
    if (!done_ && answer_.cancel) answer_.cancel();
  }
  CancelUnlessDone(const CancelUnlessDone&) = delete;
  CancelUnlessDone& operator=(const CancelUnlessDone&) = delete;
  void Done() { done_ = true; }

 private:
  const PendingAnswer& answer_;
  bool done_ = false;
};

net::awaitable<bool> Connection::Deliver(PendingAnswer answer, unsigned http_version,
                                         bool keep_alive) {
  constexpr unsigned kHttp11 = 11;
  const bool chunked = http_version >= kHttp11;
  CancelUnlessDone guard(answer);
  while (!client_is_gone_) {
    AnswerNews news = answer.next();
    if (news.empty()) {
      co_await AwaitWake();
      continue;
    }
    const bool is_end = news.end;
    bool written = true;
    if (news.head && is_end) {
      written = co_await WriteWhole(std::move(*news.head), http_version, keep_alive);
    } else {
      if (news.head) written = co_await WriteHead(std::move(*news.head), http_version);
      if (written) written = co_await WritePiece(std::move(news.bytes), chunked, is_end);
    }
    if (!written) co_return false;
    if (!is_end) continue;
    guard.Done();
    co_return chunked ||
        news.head.has_value();  // else the end of the connection is the end of the body
  }
  co_return false;
}

net::awaitable<bool> Connection::WriteWhole(HttpResponse response, unsigned http_version,
                                            bool keep_alive) {
  http::response<http::string_body> message;
  message.version(http_version);
  SetHead(response, message);
  message.keep_alive(keep_alive && !shared_->stopping);
  message.body() = std::move(response.body);
  constexpr int kNoContent = 204;  // must not say a length either (RFC 9110, 8.6)
  if (response.status != kNoContent) message.prepare_payload();
  stream_.expires_after(Seconds(options().write_timeout_s));
  const auto [error, size] = co_await http::async_write(stream_, message, kAwait);
  stream_.expires_never();
  co_return !error;
}

net::awaitable<bool> Connection::WriteHead(HttpResponse response, unsigned http_version) {
  constexpr unsigned kHttp11 = 11;
  http::response<http::empty_body> message;
  message.version(http_version);
  SetHead(response, message);
  message.chunked(http_version >= kHttp11);
  http::response_serializer<http::empty_body> serializer(message);
  stream_.expires_after(Seconds(options().write_timeout_s));
  const auto [error, size] = co_await http::async_write_header(stream_, serializer, kAwait);
  stream_.expires_never();
  co_return !error;
}

net::awaitable<bool> Connection::WritePiece(std::string bytes, bool chunked, bool is_last) {
  std::string framed;
  if (!chunked) {
    framed = std::move(bytes);
  } else {
    if (!bytes.empty()) framed = fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
    if (is_last) framed += "0\r\n\r\n";
  }
  if (framed.empty()) co_return true;
  stream_.expires_after(Seconds(options().write_timeout_s));
  const auto [error, size] = co_await net::async_write(stream_, net::buffer(framed), kAwait);
  stream_.expires_never();
  co_return !error;
}

net::awaitable<void> Connection::AwaitWake() {
  if (!is_woken_ && !client_is_gone_) {
    wake_timer_.expires_at(net::steady_timer::time_point::max());
    co_await wake_timer_.async_wait(kAwait);
  }
  is_woken_ = false;
}

Wake Connection::MakeWake() {
  // The context stays while somebody may post to it; the connection does not.
  return [weak = weak_from_this(), shared = shared_] {
    const auto self = weak.lock();
    if (self == nullptr || self->wake_is_posted_.exchange(true)) return;
    net::post(self->stream_.get_executor(), [weak] {
      const auto connection = weak.lock();
      if (connection == nullptr) return;
      connection->wake_is_posted_ = false;
      connection->is_woken_ = true;
      connection->wake_timer_.cancel();
    });
  };
}

void Connection::WatchForHangUp(uint64_t watch) {
  stream_.socket().async_wait(
      Tcp::socket::wait_read, [weak = weak_from_this(), watch](const error_code& error) {
        const auto self = weak.lock();
        if (self == nullptr || error || self->watch_ != watch) return;
        char byte = 0;
        error_code ended;
        self->stream_.socket().receive(net::buffer(&byte, 1), Tcp::socket::message_peek, ended);
        // The event may be of the bytes that were this request.
        if (ended == net::error::would_block) return self->WatchForHangUp(watch);
        if (!ended) return;  // the next request is here before its time: it is read in its turn
        self->client_is_gone_ = true;
        self->wake_timer_.cancel();
      });
}

void Connection::StopWatching() {
  ++watch_;
  error_code ignored;
  stream_.socket().cancel(ignored);
}

net::awaitable<void> Accept(Tcp::acceptor& acceptor, std::shared_ptr<Shared> shared) {
  constexpr std::chrono::milliseconds kOutOfFiles(100);
  while (!shared->stopping) {
    auto [error, socket] = co_await acceptor.async_accept(net::make_strand(shared->io), kAwait);
    if (shared->stopping) co_return;
    if (error) {
      net::steady_timer pause(acceptor.get_executor(), kOutOfFiles);
      co_await pause.async_wait(kAwait);
      continue;
    }
    size_t num_connections = 0;
    {
      const std::lock_guard lock(shared->mutex);
      num_connections = shared->connections.size();
    }
    if (num_connections >= static_cast<size_t>(shared->options.max_connections)) continue;
    std::make_shared<Connection>(std::move(socket), shared)->Start();
  }
}

Status OpenAcceptor(const HttpServerOptions& options, Tcp::acceptor& acceptor) {
  error_code error;
  const auto address =
      net::ip::make_address(options.host == "localhost" ? "127.0.0.1" : options.host, error);
  if (error) {
    return InvalidArgument("host: expected an IP address or localhost, found \"{}\"", options.host);
  }
  const Tcp::endpoint endpoint(address, static_cast<uint16_t>(options.port));
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(net::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(net::socket_base::max_listen_connections, error);
  if (!error) return {};
  return MakeError(ErrorCode::kIo, "{}:{}: expected a free address to listen on, found: {}",
                   options.host, options.port, error.message());
}

}  // namespace

struct HttpServer::Impl {
  Impl(HttpServerOptions options, HttpHandler handler)
      : shared(std::make_shared<Shared>(std::move(options), std::move(handler))),
        acceptor(net::make_strand(shared->io)),
        work(shared->io.get_executor()) {}

  void EndConnections(bool at_once) const {
    const std::lock_guard lock(shared->mutex);
    for (Connection* connection : shared->connections) connection->End(at_once);
  }

  const std::shared_ptr<Shared> shared;
  Tcp::acceptor acceptor;
  net::executor_work_guard<net::io_context::executor_type> work;
  int32_t port = 0;
  std::vector<std::thread> threads;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::Start(HttpServerOptions options,
                                                      HttpHandler handler) {
  auto impl = std::make_unique<Impl>(std::move(options), std::move(handler));
  VX_RETURN_IF_ERROR(OpenAcceptor(impl->shared->options, impl->acceptor));
  impl->port = impl->acceptor.local_endpoint().port();
  net::co_spawn(impl->acceptor.get_executor(), Accept(impl->acceptor, impl->shared), net::detached);
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(impl)));
  for (int32_t i = 0; i < server->impl_->shared->options.num_threads; ++i) {
    VX_ASSIGN_OR_RETURN(
        std::thread thread, StartThread("the server", [shared = server->impl_->shared] {
          pthread_setname_np(pthread_self(), "vexact-io");  // tests/server/serving.py looks for it
          shared->io.run();
        }));
    server->impl_->threads.push_back(std::move(thread));
  }
  return Result<std::unique_ptr<HttpServer>>(std::move(server));
}

HttpServer::~HttpServer() {
  StopAccepting();
  impl_->EndConnections(/*at_once=*/true);
  {
    std::unique_lock lock(impl_->shared->mutex);
    impl_->shared->fewer_connections.wait(lock,
                                          [this] { return impl_->shared->connections.empty(); });
  }
  impl_->work.reset();
  for (std::thread& thread : impl_->threads) thread.join();
}

int32_t HttpServer::port() const { return impl_->port; }

void HttpServer::StopAccepting() {
  if (impl_->shared->stopping.exchange(true)) return;
  net::post(impl_->acceptor.get_executor(), [this] {
    error_code ignored;
    impl_->acceptor.close(ignored);
  });
  impl_->EndConnections(/*at_once=*/false);
}

int32_t HttpServer::num_connections() const {
  const std::lock_guard lock(impl_->shared->mutex);
  return static_cast<int32_t>(impl_->shared->connections.size());
}

}  // namespace vexact
