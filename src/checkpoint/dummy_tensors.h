// Dummy weights: generated from the tensor's name and a seed, for runs that need a model's shapes
// and not its knowledge. Every element is a pure function of (name, shape, seed, its index), so any
// thread may make any part, on any device, and the words are the same.
//
// Element i of tensor `name` is bf16(rn(mean + rn(float(int32(w)) * rn(sigma * sqrt(3) * 2^-31)))):
// uniform, of standard deviation sigma. w = word i mod 4 of Philox4x32-10 with the counter
// (i / 4 mod 2^32, i / 2^34, 0, 0) and, as its key, the first 8 bytes, little-endian, of SHA-256
// over: the name's bytes, one zero byte, the seed as 8 little-endian bytes (two's complement).
//
// As a real initialisation has it:
//   linear weights and embeddings [outputs, inputs]   mean 0, sigma 1 / sqrt(inputs)
//   self_attn.o_proj.weight                           mean 0, sigma 1 / (4 sqrt(inputs))
//   biases                                            mean 0, sigma 1 / sqrt(hidden_size)
//   norm weights                                      mean 1, sigma 1/16
// A linear layer then keeps the size of what it reads, whatever the width: normed inputs have size
// 1, so queries, keys, values, router scores and logits have standard deviation 1, and the residual
// stream grows with the square root of the depth. Untrained attention averages its positions, and
// what it adds to all of them alike accumulates: with o_proj at full size, 90 % of the hidden state
// is common to all tokens by layer 24, and 12 of 64 experts are chosen at all. At a quarter it
// stays at 3 to 5 %, and at layer 48 all 64 are, the busiest by 2.8 times its share (48 layers,
// hidden size 256, 4 of 64 experts, 96 random tokens). Embeddings are small beside what the layers
// add to them, so tied logits hardly favour the token that was just read. Norm weights differ from
// each other, so that a misplaced one shows.
#ifndef VEXACT_CHECKPOINT_DUMMY_TENSORS_H_
#define VEXACT_CHECKPOINT_DUMMY_TENSORS_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "numerics/bf16.h"

namespace vexact {

struct DummyDistribution {
  float mean = 0.0f;
  double sigma = 0.0;
};

// Of a tensor of expected_tensors.h in a model of this hidden size.
DummyDistribution DummyDistributionOf(std::string_view name, const std::vector<int64_t>& shape,
                                      int64_t hidden_size);

// The Philox key of a tensor.
uint64_t DummyKey(std::string_view name, int64_t seed);

// Elements 0, 1, ... of the tensor with this key. `pool` may be null: then the caller's thread
// alone makes them, under its own floating-point environment. Measured: 0.25 G elements/s a core
// (AVX2, 3 GHz).
void GenerateDummy(uint64_t key, const DummyDistribution& distribution, std::span<bf16> elements,
                   ThreadPool* pool);

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_DUMMY_TENSORS_H_
