#include "common/model_identity.h"

#include <cstdlib>
#include <utility>

#include "base/threads.h"
#include "checkpoint/model_id.h"
#include "common/version.h"
#include "numerics/profile.h"

namespace vexact {
namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::string CacheFolder() {
  if (std::string own = Variable("VEXACT_CACHE"); !own.empty()) return own;
  if (const std::string xdg = Variable("XDG_CACHE_HOME"); !xdg.empty()) return xdg + "/vexact";
  if (const std::string home = Variable("HOME"); !home.empty()) return home + "/.cache/vexact";
  return "";
}

Result<ModelIdentity> IdentifyModel(const ModelSource& source, const EngineConfig& config) {
  VX_ASSIGN_OR_RETURN(
      ThreadPool pool,
      ThreadPool::Create(config.num_threads > 0 ? config.num_threads : HardwareThreads()));
  VX_ASSIGN_OR_RETURN(const Checkpoint checkpoint, OpenCheckpoint(source, &pool));
  ModelIdentity identity;
  identity.engine_version = EngineVersion();
  identity.profile = kNumericsProfile;
  const std::string folder = CacheFolder();
  VX_ASSIGN_OR_RETURN(identity.weights_id, folder.empty()
                                               ? WeightsId(checkpoint, pool)
                                               : CachedWeightsId(checkpoint, folder, pool));
  VX_ASSIGN_OR_RETURN(identity.tokenizer_id, TokenizerId(checkpoint));
  identity.eos_token_ids = config.eos_token_ids;
  identity.mask = config.mask;
  return identity;
}

}  // namespace vexact
