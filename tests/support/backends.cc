#include "support/backends.h"

#include "support/staged_backend.h"

namespace vexact {
namespace {

std::shared_ptr<const Backend> Gpu(Mode mode = Mode::kInvariant,
                                   AttentionKernels attention = AttentionKernels::kFa) {
  Result<std::unique_ptr<Backend>> backend = MakeSm90Backend(mode, attention);
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

std::vector<NamedBackend> AttentionBackends() {
  std::vector<NamedBackend> backends = AllBackends();
  if (const std::shared_ptr<const Backend> cute = CuteBackend(Mode::kInvariant)) {
    backends.push_back({"fa-invariant-cute", cute});
  }
  return backends;
}

std::shared_ptr<const Backend> CuteBackend(Mode mode) {
  const std::shared_ptr<const Backend> device = Gpu(mode, AttentionKernels::kCute);
  return device == nullptr ? nullptr : MakeStagedBackend(device);
}

std::shared_ptr<const Backend> BestDevice(Mode mode, AttentionKernels attention) {
  std::shared_ptr<const Backend> gpu = Gpu(mode, attention);
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
