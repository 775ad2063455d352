// The functions that a template can call by name.
#ifndef VEXACT_CHAT_FUNCTIONS_H_
#define VEXACT_CHAT_FUNCTIONS_H_

#include <ctime>
#include <string_view>

#include "chat/arguments.h"
#include "chat/value.h"

namespace vexact {

// range, namespace, raise_exception, strftime_now.
bool IsFunction(std::string_view name);

Result<Value> Range(const Arguments& arguments, Meter& meter);
// datetime.strftime of `now`, as the C library of the C locale formats.
Result<Value> StrftimeNow(const Arguments& arguments, const std::tm& now, Meter& meter);
// Always an error: the message that the template gives.
Error RaiseException(const Arguments& arguments, Meter& meter);

}  // namespace vexact

#endif  // VEXACT_CHAT_FUNCTIONS_H_
