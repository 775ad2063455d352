// Answers in the words of OpenAI and of SGLang.
#ifndef VEXACT_SERVER_WRITERS_H_
#define VEXACT_SERVER_WRITERS_H_

#include <cstdint>
#include <functional>
#include <string>

#include "server/api_call.h"
#include "server/generation.h"
#include "tokenizer/tokenizer.h"

namespace vexact {

// What all answers of one call have in common.
struct AnswerHead {
  std::string id;       // "cmpl-...", "chatcmpl-..."
  int64_t created = 0;  // seconds of Unix time
  std::string model;
  std::string system_fingerprint;  // what, beside the request, decides the answer
};

struct WriterContext {
  AnswerHead head;
  const Tokenizer* tokenizer = nullptr;  // may be null: no texts
  // One receipt as JSON; called if the call asks for them.
  std::function<std::string(const RequestResult&)> receipt;
};

AnswerWriter CompletionWriter(const AnswerOptions& options, WriterContext context);
AnswerWriter ChatWriter(const AnswerOptions& options, WriterContext context);
AnswerWriter SglangWriter(const AnswerOptions& options, WriterContext context);

}  // namespace vexact

#endif  // VEXACT_SERVER_WRITERS_H_
