#include "server/http.h"

#include <memory>

namespace vexact {

PendingAnswer ReadyAnswer(HttpResponse response) {
  const auto kept = std::make_shared<HttpResponse>(std::move(response));
  return {.next = [kept] { return AnswerNews{.head = std::move(*kept), .end = true}; },
          .cancel = [] {}};
}

}  // namespace vexact
