#include "base/sha256.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include "base/check.h"

namespace vexact {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  VX_CHECK(state_->context != nullptr && EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr),
           "libcrypto offers SHA-256");
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(std::span<const std::byte> bytes) {
  VX_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()));
}

std::array<uint8_t, 32> Sha256::Finish() {
  std::array<uint8_t, 32> digest{};
  VX_CHECK(EVP_DigestFinal_ex(state_->context, digest.data(), nullptr));
  return digest;
}

std::string Sha256::FinishHex() {
  std::string hex;
  for (const uint8_t byte : Finish()) hex += fmt::format("{:02x}", byte);
  return hex;
}

}  // namespace vexact
