#include "support/backends.h"

namespace vexact {

std::vector<NamedBackend> AllBackends() {
  std::vector<NamedBackend> backends;
  backends.push_back({"reference", MakeReferenceBackend()});
  for (const CpuTarget target : SupportedCpuTargets()) {
    backends.push_back({std::string(CpuTargetName(target)), MakeCpuBackend(target)});
  }
  return backends;
}

}  // namespace vexact
