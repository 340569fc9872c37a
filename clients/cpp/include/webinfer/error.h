/// \file
/// Errors: one tree, so that `catch (const webinfer::Error&)` gets all that a call can throw.
#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "google/rpc/status.pb.h"

namespace webinfer {

/// What an error tells beside its message.
struct ErrorFacts {
  /// The gRPC code; INVALID_ARGUMENT also where the client itself refuses an input.
  grpc::StatusCode code = grpc::StatusCode::UNKNOWN;
  /// The service's reason, such as "MODEL_NOT_FOUND"; empty where the error is not the service's own.
  std::string reason;
  /// Names of the request's fields that are at fault.
  std::vector<std::string> fields;
  /// Time after which another attempt may work, where the service tells.
  std::optional<std::chrono::milliseconds> retry_after;
};

/// Something did not work.
class Error : public std::runtime_error {
 public:
  Error(const std::string& message, ErrorFacts facts) : std::runtime_error(message), facts_(std::move(facts)) {}

  [[nodiscard]] grpc::StatusCode code() const noexcept { return facts_.code; }
  /// The code's name in gRPC's own words, such as "NOT_FOUND".
  [[nodiscard]] const char* code_name() const noexcept;
  [[nodiscard]] const std::string& reason() const noexcept { return facts_.reason; }
  [[nodiscard]] const std::vector<std::string>& fields() const noexcept { return facts_.fields; }
  [[nodiscard]] std::optional<std::chrono::milliseconds> retry_after() const noexcept { return facts_.retry_after; }

 private:
  ErrorFacts facts_;
};

/// What was asked cannot be done: an input, a field or a setting is wrong. Another attempt fails as well.
class InvalidInput : public Error {
 public:
  using Error::Error;
  /// What the client itself refuses.
  explicit InvalidInput(const std::string& message)
      : Error(message, {grpc::StatusCode::INVALID_ARGUMENT, {}, {}, {}}) {}
};

/// There is no such model or browser.
class NotFound : public Error {
 public:
  using Error::Error;
};

/// The service has no room for it now. It was tried again as often as the options say.
class Overloaded : public Error {
 public:
  using Error::Error;
};

/// The answer did not come in time.
class DeadlineExceeded : public Error {
 public:
  using Error::Error;
};

/// The call was cancelled, or its client was closed meanwhile.
class Cancelled : public Error {
 public:
  using Error::Error;
};

/// No service is there, it went away, or it has no browser.
class Unavailable : public Error {
 public:
  using Error::Error;
};

/// The error of a status that is not OK, as an exception of the kind that fits its code.
std::exception_ptr to_exception(const grpc::Status& status);
/// The same of an answer on a stream.
std::exception_ptr to_exception(const google::rpc::Status& status);

}  // namespace webinfer
