/// \file
/// What comes of a request whose answer is told to a callback.
#pragma once

#include <exception>
#include <functional>
#include <utility>

#include "webinfer/v1/inference.pb.h"

namespace webinfer {

namespace detail {
class ActiveCall;
class Core;
}  // namespace detail

/// A response, or the error in its place.
class Result {
 public:
  explicit Result(v1::InferResponse response) : response_(std::move(response)) {}
  explicit Result(std::exception_ptr error) : error_(std::move(error)) {}

  /// Whether there is a response.
  explicit operator bool() const noexcept { return error_ == nullptr; }
  /// The response. Throws the error, where there is one.
  v1::InferResponse& response() & { return check(), response_; }
  const v1::InferResponse& response() const& { return check(), response_; }
  v1::InferResponse&& response() && { return check(), std::move(response_); }
  /// The error, or nullptr.
  [[nodiscard]] const std::exception_ptr& error() const noexcept { return error_; }

 private:
  void check() const {
    if (error_ != nullptr) {
      std::rethrow_exception(error_);
    }
  }

  v1::InferResponse response_;
  std::exception_ptr error_;
};

/// Told what came of a request, once.
using Callback = std::function<void(Result)>;
/// Told what a request's items have come to, one step after another.
using PartialCallback = std::function<void(const v1::Partial&)>;

}  // namespace webinfer
