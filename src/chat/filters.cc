#include "chat/filters.h"

namespace vexact {

Filter FindFilter(std::string_view name) {
  if (const Filter filter = FindTextFilter(name)) return filter;
  if (const Filter filter = FindSequenceFilter(name)) return filter;
  return FindSelectionFilter(name);
}

}  // namespace vexact
