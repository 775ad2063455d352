#include "support/http_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

#include "base/check.h"

namespace vexact {
namespace {

constexpr std::string_view kLineEnd = "\r\n";

// The lines of a head after its first: "name: value".
std::map<std::string, std::string> ParseHeaders(std::string_view lines) {
  std::map<std::string, std::string> headers;
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find(kLineEnd));
    lines.remove_prefix(std::min(lines.size(), line.size() + kLineEnd.size()));
    const size_t colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    std::string name(line.substr(0, colon));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    headers[name] = line.substr(colon + 2);
  }
  return headers;
}

// How many bytes of `text` are one whole chunked body, whose content is appended; 0: not yet whole.
size_t ParseChunks(std::string_view text, std::string& content) {
  content.clear();
  size_t position = 0;
  while (true) {
    const size_t line_end = text.find(kLineEnd, position);
    if (line_end == std::string_view::npos) return 0;
    size_t size = 0;
    std::from_chars(text.data() + position, text.data() + line_end, size, 16);
    const size_t begin = line_end + kLineEnd.size();
    if (text.size() < begin + size + kLineEnd.size()) return 0;
    content += text.substr(begin, size);
    position = begin + size + kLineEnd.size();
    if (size == 0) return position;
  }
}

}  // namespace

HttpClient::HttpClient(int32_t port) : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  VX_CHECK(connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
}

HttpClient::~HttpClient() {
  if (socket_ >= 0) close(socket_);
}

void HttpClient::Kill() {
  const linger at_once{1, 0};
  setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  close(socket_);
  socket_ = -1;
}

bool HttpClient::Send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool HttpClient::ReadMore(int patience_s) {
  pollfd readable{socket_, POLLIN, 0};
  if (poll(&readable, 1, patience_s * 1000) <= 0) return false;
  char bytes[4096];
  const ssize_t received = recv(socket_, bytes, sizeof(bytes), 0);
  if (received <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(received));
  return true;
}

std::optional<HttpReply> HttpClient::Receive(int patience_s) {
  constexpr std::string_view kHeadEnd = "\r\n\r\n";
  size_t head_end = std::string::npos;
  while ((head_end = buffer_.find(kHeadEnd)) == std::string::npos) {
    if (!ReadMore(patience_s)) return std::nullopt;
  }
  HttpReply reply;
  const std::string head = buffer_.substr(0, head_end);
  buffer_.erase(0, head_end + kHeadEnd.size());
  VX_CHECK(head.starts_with("HTTP/1.") && head.size() > 12, head);
  std::from_chars(head.data() + 9, head.data() + 12, reply.status);
  if (reply.status == 100) return reply;  // nothing but its line
  reply.headers = ParseHeaders(std::string_view(head).substr(head.find(kLineEnd) + 2));
  if (reply.status == 204) return reply;  // nothing but its head
  if (reply.headers["transfer-encoding"] == "chunked") {
    size_t used = 0;
    while ((used = ParseChunks(buffer_, reply.body)) == 0) {
      if (!ReadMore(patience_s)) return std::nullopt;
    }
    buffer_.erase(0, used);
    return reply;
  }
  const bool has_length = reply.headers.contains("content-length");
  const size_t length = has_length ? std::stoul(reply.headers["content-length"]) : SIZE_MAX;
  while (buffer_.size() < length && ReadMore(patience_s)) {
  }
  if (has_length && buffer_.size() < length) return std::nullopt;
  reply.body = buffer_.substr(0, length);
  buffer_.erase(0, length);
  return reply;
}

std::string HttpClient::ReceiveAll(int patience_s) {
  while (ReadMore(patience_s)) {
  }
  return std::exchange(buffer_, {});
}

std::string PostBytes(const std::string& path, const std::string& json,
                      const std::string& more_headers) {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n"
      "{}\r\n{}",
      path, json.size(), more_headers, json);
}

std::optional<HttpReply> HttpClient::Post(const std::string& path, const std::string& json,
                                          const std::string& more_headers) {
  if (!Send(PostBytes(path, json, more_headers))) return std::nullopt;
  return Receive();
}

std::optional<HttpReply> HttpClient::Get(const std::string& path) {
  if (!Send(fmt::format("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", path))) return std::nullopt;
  return Receive();
}

}  // namespace vexact
