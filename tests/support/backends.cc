#include "support/backends.h"

#include "support/staged_backend.h"

namespace vexact {
namespace {

std::shared_ptr<const Backend> Gpu(Mode mode = Mode::kInvariant) {
  Result<std::unique_ptr<Backend>> backend = MakeSm90Backend(mode);
  return backend.ok() ? std::shared_ptr<const Backend>(std::move(backend).value()) : nullptr;
}

}  // namespace

std::vector<NamedBackend> AllBackends() {
  std::vector<NamedBackend> backends;
  backends.push_back({"reference", MakeReferenceBackend()});
  for (const CpuTarget target : SupportedCpuTargets()) {
    backends.push_back({std::string(CpuTargetName(target)), MakeCpuBackend(target)});
  }
  if (const std::shared_ptr<const Backend> device = Gpu()) {
    backends.push_back({std::string(device->name()), MakeStagedBackend(device)});
  }
  return backends;
}

std::shared_ptr<const Backend> BestDevice(Mode mode) {
  std::shared_ptr<const Backend> gpu = Gpu(mode);
  return gpu != nullptr ? gpu : std::shared_ptr<const Backend>(MakeCpuBackend(mode));
}

std::vector<NamedBackend> AllDevices() {
  std::vector<NamedBackend> devices = {{"cpu", MakeCpuBackend()}};
  if (const std::shared_ptr<const Backend> device = Gpu()) {
    devices.push_back({std::string(device->name()), device});
  }
  return devices;
}

}  // namespace vexact
