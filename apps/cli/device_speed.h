// How fast a device is, measured in a second or two: enough to see a card that is throttled or
// shared, not a benchmark.
#ifndef VEXACT_CLI_DEVICE_SPEED_H_
#define VEXACT_CLI_DEVICE_SPEED_H_

#include "base/result.h"
#include "kernels/backend.h"

namespace vexact {

struct DeviceSpeed {
  double bandwidth = 0.0;    // bytes a second that `embedding` reads and writes in large buffers
  double matrix_rate = 0.0;  // multiply-adds a second of `linear`
  int64_t matrix_rows = 0;   // of that linear; 4096 -> 4096
};
Result<DeviceSpeed> MeasureDevice(const Backend& backend, ThreadPool& pool);

}  // namespace vexact

#endif  // VEXACT_CLI_DEVICE_SPEED_H_
