#include "demo/requests.h"

#include <array>
#include <numeric>
#include <random>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace vexact {
namespace {

// Written for this proof: prose, code, numbers and other scripts, about 450 tokens.
constexpr std::string_view kText =
    R"(The harbour master kept two ledgers. In the first she wrote what the captains declared: so many
barrels of herring, so many bolts of linen, the weight of the iron and the price of the oak. In the
second she wrote what she saw from her window, and the two had never once agreed. On quiet evenings
she would add up the columns, first from the top, then from the bottom, then starting in the middle,
and it pleased her that the sums were always the same. "Numbers do not care who is watching," she
told the clerk, "and they do not care how many others are being counted at the same time."

def fold(values, start=0):
    total = start
    for index, value in enumerate(values):
        total = total * 31 + value if index % 2 else total - value
    return total

Der Wind kam aus Nordwest, und das Wasser stand drei Ellen über der Marke. Les bateaux rentraient
un par un, chargés de sel et de poivre. 港の灯りが霧の中でゆっくりと点滅していた。 In 1787 the toll was 12
shillings and 6 pence; by 1803 it had risen to 19 shillings, an increase of 52 percent in 16 years.

The clerk was not convinced. He had studied in the city, where he had learned that a sum of many
small things may depend on the order in which they are added, if each addition is rounded to the
nearest penny. He wrote a hundred entries on slips of paper, shuffled them, and added them again and
again, rounding as the merchants did. By midnight he had found three different totals for the same
hundred slips, and he carried them to her door. She read them by the lamp, smiled, and took down
from the shelf a third ledger, bound in green leather, in which every rule of rounding was written:
which slip comes first, which pair is joined, and where the last farthing goes. "Follow this," she
said, "and you may shuffle as you like.")";

struct Shape {
  int32_t prompt_tokens;
  int32_t output_tokens;
};

// Few long ones, since a machine with two cores computes about 80 tokens a second. Crossings: 120,
// 129, 250 and 300 of a tile; 250 (while it is generated) and 300 (in the prompt) of a segment.
constexpr std::array<Shape, kNumProofRequests> kShapes{{{300, 24},
                                                        {5, 48},
                                                        {28, 30},
                                                        {129, 24},
                                                        {8, 36},
                                                        {250, 24},
                                                        {16, 24},
                                                        {64, 28},
                                                        {12, 32},
                                                        {120, 24},
                                                        {6, 40},
                                                        {20, 26}}};

// Every other request draws; each of these in turn.
void SetDrawing(int which, SamplingParams& params) {
  params.temperature = 1.0;
  switch (which) {
    case 0:
      params.top_p = 0.9;
      break;
    case 1:
      params.top_k = 40;
      break;
    case 2:
      params.min_p = 0.05;
      break;
    case 3:
      params.top_k = 50;
      params.top_p = 0.95;
      break;
    case 4:
      params.top_p = 0.8;
      params.repetition_penalty = 1.1;
      break;
    default:
      params.min_p = 0.02;
      params.presence_penalty = 0.5;
      params.frequency_penalty = 0.25;
      break;
  }
}

std::vector<int32_t> TokensOfText(const Tokenizer* tokenizer, int32_t vocab_size) {
  if (tokenizer != nullptr) return tokenizer->Encode(kText, {.add_special_tokens = false});
  std::vector<int32_t> ids;
  for (const char byte : kText) ids.push_back(static_cast<unsigned char>(byte) % vocab_size);
  return ids;
}

}  // namespace

std::vector<Request> ProofRequests(const Tokenizer* tokenizer, int32_t vocab_size) {
  const std::vector<int32_t> text = TokensOfText(tokenizer, vocab_size);
  VX_CHECK(text.size() > static_cast<size_t>(kShapes[0].prompt_tokens));
  std::vector<Request> requests;
  for (int i = 0; i < kNumProofRequests; ++i) {
    const auto [prompt_tokens, output_tokens] = kShapes[i];
    std::vector<int32_t> ids(prompt_tokens);
    for (int32_t t = 0; t < prompt_tokens; ++t) ids[t] = text[(i * 37 + t) % text.size()];
    Request& request = requests.emplace_back();
    request.prompt_token_ids = std::move(ids);
    request.index = i;
    SamplingParams& params = request.sampling;
    params.max_tokens = output_tokens;
    params.ignore_eos = true;
    params.logprobs = 4;
    params.temperature = 0.0;
    params.seed = 1000 + i;
    if (i % 2 == 1) SetDrawing(i / 2, params);
  }
  return requests;
}

std::vector<Request> Strangers(int32_t vocab_size) {
  std::mt19937 random(20);
  std::vector<Request> requests;
  for (int i = 0; i < kNumStrangers; ++i) {
    std::vector<int32_t> ids(5);
    for (int32_t& id : ids) {
      id = static_cast<int32_t>(random() % static_cast<uint32_t>(vocab_size));
    }
    Request& request = requests.emplace_back();
    request.prompt_token_ids = std::move(ids);
    request.index = kNumProofRequests + i;
    request.sampling.max_tokens = 4 + i % 3;
    request.sampling.ignore_eos = true;
    request.sampling.temperature = i % 3 == 0 ? 0.0 : 0.8;
    request.sampling.top_k = i % 5;
  }
  return requests;
}

std::vector<int> ShuffledOrder(int count) {
  std::vector<int> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 random(7);
  for (int i = count - 1; i > 0; --i) {
    std::swap(order[i], order[random() % static_cast<uint32_t>(i + 1)]);
  }
  return order;
}

}  // namespace vexact
