// Marks of every device's streams.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>

#include "support/backends.h"

namespace vexact {
namespace {

TEST(StreamMark, MeasuresTheTimeBetweenTwoPointsOfAStream) {
  for (const auto& [name, backend] : AllDevices()) {
    SCOPED_TRACE(name);
    OwnedStream owned = backend->MakeStream(nullptr).value();
    StreamMark begin = backend->MakeMark().value();
    StreamMark end = backend->MakeMark().value();
    for (const int sleep_ms : {0, 20}) {  // marks are used again
      const auto start = std::chrono::steady_clock::now();
      backend->Mark(begin, owned.stream);
      ASSERT_TRUE(backend->Synchronize(owned.stream).ok());
      std::this_thread::sleep_for(std::chrono::milliseconds(sleep_ms));
      backend->Mark(end, owned.stream);
      ASSERT_TRUE(backend->Synchronize(owned.stream).ok());
      const std::chrono::duration<double, std::milli> outside =
          std::chrono::steady_clock::now() - start;
      const double inside = backend->MillisecondsBetween(begin, end);
      EXPECT_GE(inside, 0.99 * sleep_ms);
      EXPECT_LE(inside, 1.01 * outside.count() + 0.01) << "an event's clock ticks every 0.5 us";
    }
  }
}

TEST(StreamMark, ACallBehindAMarkComesAfterTheWorkBeforeIt) {
  constexpr size_t kBytes = 1 << 22;
  for (const auto& [name, backend] : AllDevices()) {
    SCOPED_TRACE(name);
    OwnedStream work = backend->MakeStream(nullptr).value();
    OwnedStream watch = backend->MakeStream(nullptr).value();
    const Buffer from = backend->AllocateStaging(kBytes).value();
    const Buffer to = backend->AllocateStaging(kBytes).value();
    const Buffer device = backend->Allocate(kBytes).value();
    StreamMark mark = backend->MakeMark().value();
    struct Call {
      const std::byte* last;
      std::promise<std::byte> seen;
    };
    for (const int round : {1, 2, 3}) {
      const std::byte value{static_cast<unsigned char>(round)};
      std::fill_n(from.data(), kBytes, value);
      Call call{to.data() + kBytes - 1, {}};
      backend->Upload(device.data(), from.data(), kBytes, work.stream);
      backend->Download(to.data(), device.data(), kBytes, work.stream);
      backend->Mark(mark, work.stream);
      backend->WaitForMark(mark, watch.stream);
      backend->Notify(
          watch.stream,
          [](void* data, const char* error) {
            auto* const c = static_cast<Call*>(data);
            c->seen.set_value(error == nullptr ? *c->last : std::byte{0});
          },
          &call);
      EXPECT_EQ(call.seen.get_future().get(), value);
      ASSERT_TRUE(backend->Synchronize(watch.stream).ok());  // the call has returned
    }
  }
}

}  // namespace
}  // namespace vexact
