/// \file
/// Many requests over one call.
#pragma once

#include <future>
#include <memory>

#include "webinfer/result.h"

namespace webinfer {

/// A stream of requests, each of which is answered as it finishes. Threads may share it. A request that is refused for
/// now is sent again when the service says. Where the stream itself fails, all that wait get its error.
class RequestStream {
 public:
  /// Cancels what was not finished, and waits for the last callback.
  ~RequestStream();
  RequestStream(RequestStream&&) noexcept;
  RequestStream& operator=(RequestStream&&) noexcept;

  /// Sends a request, and tells what its items come to and its answer. It waits for a place while as many requests as
  /// may be in flight have no answer. In a callback of this stream, which has just made a place, it does not wait, and
  /// throws a std::logic_error where another thread has taken that. Throws an Error where the stream has failed, and a
  /// std::logic_error where it is finished.
  void send(v1::InferRequest request, Callback done, PartialCallback partial = nullptr);

  /// Sends a request. The same, with its answer as a future.
  std::future<v1::InferResponse> send(v1::InferRequest request);

  /// Says that there are no further requests, and waits until all are answered and the last callback has returned.
  /// Throws the Error of the stream where that has failed. Not for callbacks.
  void finish();

  /// Ends the stream at once. Requests that wait for answers get a Cancelled.
  void cancel() const;

 private:
  friend class Client;
  class State;
  explicit RequestStream(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace webinfer
