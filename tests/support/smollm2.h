// Where scripts/fetch_model keeps SmolLM2-135M-Instruct.
#ifndef VEXACT_SUPPORT_SMOLLM2_H_
#define VEXACT_SUPPORT_SMOLLM2_H_

#include <cstdlib>
#include <filesystem>
#include <string>

namespace vexact::test {

// The GGUF file, or "" if it was not fetched.
inline std::string SmolLm2Path() {
  namespace fs = std::filesystem;
  fs::path cache;
  if (const char* own = std::getenv("VEXACT_CACHE")) {
    cache = own;
  } else if (const char* xdg = std::getenv("XDG_CACHE_HOME")) {
    cache = fs::path(xdg) / "vexact";
  } else if (const char* home = std::getenv("HOME")) {
    cache = fs::path(home) / ".cache" / "vexact";
  }
  const fs::path file = cache / "SmolLM2-135M-Instruct.Q4_1.gguf";
  return fs::exists(file) ? file.string() : std::string();
}

}  // namespace vexact::test

#endif  // VEXACT_SUPPORT_SMOLLM2_H_
