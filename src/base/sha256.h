// SHA-256 (FIPS 180-4) over a stream of bytes.
#ifndef VEXACT_BASE_SHA256_H_
#define VEXACT_BASE_SHA256_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace vexact {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(std::span<const std::byte> bytes);
  template <typename T>
  void UpdateValue(const T& value) {  // the value's bytes, little-endian on every host we run on
    Update(std::as_bytes(std::span<const T>(&value, 1)));
  }

  // The digest of everything so far. Call once; the object is then spent.
  std::array<uint8_t, 32> Finish();
  std::string FinishHex();  // 64 lower-case digits

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vexact

#endif  // VEXACT_BASE_SHA256_H_
