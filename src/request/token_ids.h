// Token ids of a request, or of a tokenizer, against a model's vocabulary.
#ifndef VEXACT_REQUEST_TOKEN_IDS_H_
#define VEXACT_REQUEST_TOKEN_IDS_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace vexact {

// That a model with this vocabulary has all of `ids`: a tokenizer may know more tokens. The error
// names `field`.
Status CheckTokenIds(std::string_view field, const std::vector<int32_t>& ids, int64_t vocab_size);

}  // namespace vexact

#endif  // VEXACT_REQUEST_TOKEN_IDS_H_
