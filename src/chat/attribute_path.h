// The argument "attribute" of filters: "function.name", "0", or an index.
#ifndef VEXACT_CHAT_ATTRIBUTE_PATH_H_
#define VEXACT_CHAT_ATTRIBUTE_PATH_H_

#include <vector>

#include "chat/value.h"

namespace vexact {

class AttributePath {
 public:
  // From none: the item itself. Error: neither a str nor an int.
  static Result<AttributePath> Parse(const Value& attribute);

  // What lies there in `item`; `absent` (if not undefined) instead of what is undefined.
  Result<Value> Of(const Value& item, const Value& absent, Meter& meter) const;

 private:
  std::vector<Value> keys_;
};

}  // namespace vexact

#endif  // VEXACT_CHAT_ATTRIBUTE_PATH_H_
