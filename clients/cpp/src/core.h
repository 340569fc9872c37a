// What all calls of a client share: its channel and options, and who runs.
#pragma once

#include <grpcpp/client_context.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "webinfer/client.h"
#include "webinfer/v1/inference.grpc.pb.h"
#include "webinfer/v1/model.grpc.pb.h"

namespace webinfer::detail {

/// A connection. gRPC's own threads must not be those that end it: they would wait for themselves.
struct Connection {
  explicit Connection(std::shared_ptr<grpc::Channel> to)
      : channel(std::move(to)), inference(channel), models(channel) {}

  const std::shared_ptr<grpc::Channel> channel;
  v1::InferenceService::Stub inference;
  v1::ModelService::Stub models;
};

class Core : public std::enable_shared_from_this<Core> {
 public:
  Core(const std::string& target, const ClientOptions& options);

  /// Cancels all that runs, waits until no callback runs any more but for those that wait here themselves, and ends the
  /// connection.
  void close();
  [[nodiscard]] bool is_closed() const;
  /// Whether this is another process than the one that made it.
  [[nodiscard]] bool is_forked() const;
  /// The connection. Throws std::logic_error for a client that has none any more.
  [[nodiscard]] std::shared_ptr<Connection> connection() const;

  /// The request with the client's priority, where it has none itself.
  [[nodiscard]] v1::InferRequest with_priority(v1::InferRequest request) const;
  /// The exception of a call that ended so.
  [[nodiscard]] std::exception_ptr failure(const grpc::Status& status) const;

  const ClientOptions options;

 private:
  friend class ActiveCall;

  const std::string target_;
  const int process_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  std::shared_ptr<Connection> connection_;
  std::unordered_set<ActiveCall*> calls_;
  // Calls with callbacks, and those of them whose callbacks are in close().
  std::size_t callbacks_ = 0;
  std::size_t closing_callbacks_ = 0;
};

/// A call, which the end of its client cancels.
class ActiveCall {
 public:
  /// Who is told of its answer: who waits for it, or callbacks, which the end of the client waits for.
  enum class Told { kCaller, kCallbacks };

  /// Throws std::logic_error for a client that has ended already, InvalidInput for a deadline that cannot be.
  ActiveCall(std::shared_ptr<Core> core, std::optional<std::chrono::milliseconds> deadline, Told told);
  virtual ~ActiveCall() { end(); }
  ActiveCall(const ActiveCall&) = delete;
  ActiveCall& operator=(const ActiveCall&) = delete;

  void cancel();
  /// Lets go of all that gRPC has of it. The last callback's last deed, or the destructor's.
  void end();

  [[nodiscard]] grpc::ClientContext* context() { return context_.get(); }
  [[nodiscard]] Connection& connection() { return *connection_; }

  const std::shared_ptr<Core> core;

 private:
  friend class Core;

  const Told told_;
  std::shared_ptr<Connection> connection_;
  std::unique_ptr<grpc::ClientContext> context_;
};

/// Exists while a callback of a call runs on this thread.
class InCallback {
 public:
  explicit InCallback(const ActiveCall& call) : outer_(current_) { current_ = &call; }
  ~InCallback() { current_ = outer_; }
  InCallback(const InCallback&) = delete;
  InCallback& operator=(const InCallback&) = delete;

  static bool of(const ActiveCall& call) { return current_ == &call; }
  static bool of(const Core& core) { return current_ != nullptr && current_->core.get() == &core; }

 private:
  static thread_local const ActiveCall* current_;
  const ActiveCall* outer_;
};

/// A callback. Throws InvalidInput where it is empty.
inline Callback given(Callback callback) {
  if (!callback) {
    throw InvalidInput("a callback must be given for the answer");
  }
  return callback;
}

/// Tells a callback. What it throws is dropped: in gRPC's hands it would keep the call from its end.
inline void tell(const Callback& done, Result result) {
  try {
    done(std::move(result));
  } catch (...) {
  }
}

}  // namespace webinfer::detail
