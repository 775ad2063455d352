#include "support/backends.h"

namespace vexact {

std::vector<NamedBackend> AllBackends() {
  std::vector<NamedBackend> backends;
  backends.push_back({"reference", MakeReferenceBackend()});
  return backends;
}

}  // namespace vexact
