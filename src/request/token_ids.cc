#include "request/token_ids.h"

namespace vexact {

Status CheckTokenIds(std::string_view field, const std::vector<int32_t>& ids, int64_t vocab_size) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size) {
      return InvalidArgument("{}: expected token ids of 0 to {}, found {}", field, vocab_size - 1,
                             id);
    }
  }
  return {};
}

}  // namespace vexact
