// A client over a raw socket, so that tests decide every byte that a server sees.
#ifndef VEXACT_SUPPORT_HTTP_CLIENT_H_
#define VEXACT_SUPPORT_HTTP_CLIENT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace vexact {

struct HttpReply {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // without the framing of chunks
};

class HttpClient {
 public:
  // To 127.0.0.1; the test fails hard if nobody listens.
  explicit HttpClient(int32_t port);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // False if the server has closed the connection.
  bool Send(std::string_view bytes) const;
  // The next reply on the connection; none if it was closed, or nothing came for `patience_s`.
  std::optional<HttpReply> Receive(int patience_s = 60);
  // What has come when the server closes, or after `patience_s`.
  std::string ReceiveAll(int patience_s = 10);
  // Closes with a reset, as a killed client's system does.
  void Kill();

  std::optional<HttpReply> Post(const std::string& path, const std::string& json,
                                const std::string& more_headers = "");
  std::optional<HttpReply> Get(const std::string& path);

 private:
  bool ReadMore(int patience_s);

  int socket_ = -1;
  std::string buffer_;  // received and not yet handed out
};

// POST PATH with a JSON body, as bytes.
std::string PostBytes(const std::string& path, const std::string& json,
                      const std::string& more_headers = "");

}  // namespace vexact

#endif  // VEXACT_SUPPORT_HTTP_CLIENT_H_
