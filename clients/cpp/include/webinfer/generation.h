/// \file
/// A request whose caller reads what its items come to.
#pragma once

#include <memory>
#include <optional>

#include "webinfer/result.h"

namespace webinfer {

/// The steps of a request, and its answer. One thread reads; any may cancel. What is left unread is cancelled at its
/// end.
class Generation {
 public:
  ~Generation();
  Generation(Generation&&) noexcept;
  Generation& operator=(Generation&&) noexcept;

  /// Waits for the next step. Nothing comes after the last one. Throws an Error where the call fails.
  std::optional<v1::Partial> next();

  /// The answer. Steps that are not read yet are skipped. Throws an Error where the call fails, or has failed.
  const v1::InferResponse& response();

  /// Stops it at its next token. Readers get a Cancelled, unless the answer is there already.
  void cancel() const;

 private:
  friend class Client;
  class State;
  explicit Generation(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace webinfer
