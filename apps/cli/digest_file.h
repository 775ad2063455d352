// Digests of operators (kernels/self_check/digests.h) as a JSON file.
#ifndef VEXACT_CLI_DIGEST_FILE_H_
#define VEXACT_CLI_DIGEST_FILE_H_

#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/self_check/digests.h"

namespace vexact {

struct DigestFile {
  std::string device;  // what recorded it
  std::vector<OperatorDigests> operators;
};

// Errors name the file, and what in it is not as expected.
Result<DigestFile> ReadDigestFile(const std::string& path);
Status WriteDigestFile(const std::string& path, const DigestFile& file);

}  // namespace vexact

#endif  // VEXACT_CLI_DIGEST_FILE_H_
