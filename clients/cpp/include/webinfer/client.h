/// \file
/// The client: a connection to a service, and its calls.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "webinfer/error.h"
#include "webinfer/generation.h"
#include "webinfer/models.h"
#include "webinfer/result.h"
#include "webinfer/stream.h"
#include "webinfer/v1/inference.pb.h"

namespace webinfer {

/// How a client calls.
struct ClientOptions {
  /// Time for a call with all its attempts.
  std::chrono::milliseconds deadline = std::chrono::seconds(60);
  /// The same for loads of models.
  std::chrono::milliseconds load_deadline = std::chrono::minutes(10);
  /// How often a call is tried that is refused with RESOURCE_EXHAUSTED or UNAVAILABLE, 1 to 5. When, the service says.
  int max_attempts = 5;
  /// First and longest delay between attempts where the service names none.
  std::chrono::milliseconds first_backoff = std::chrono::milliseconds(200);
  std::chrono::milliseconds longest_backoff = std::chrono::seconds(5);
  /// Name by which the service shares its time; without one, each connection counts by itself.
  std::string client_name;
  /// Priority of requests that name none.
  v1::Priority priority = v1::PRIORITY_UNSPECIFIED;
  /// Largest message in bytes; the service has its own limit, --max-message-bytes.
  int max_message_bytes = 256 << 20;
  /// For a proxy with TLS: grpc::SslCredentials({}). Clear text where there are none, as the service itself speaks.
  std::shared_ptr<grpc::ChannelCredentials> credentials;
};

/// What one call can be told.
struct CallOptions {
  /// Time for the call with all its attempts; the client's own where there is none.
  std::optional<std::chrono::milliseconds> deadline;
};

/// What streams can be told.
struct StreamOptions {
  /// Time for the stream and all of its requests; without one, the service bounds each request by its own default.
  std::optional<std::chrono::milliseconds> deadline;
  /// Most requests that wait for their answers at a time, 1 or more.
  std::size_t in_flight = 64;
};

/// A call that runs. It can be forgotten: the call goes on.
class Call {
 public:
  /// Cancels it, and what of it has not run yet is dropped. Its callback gets a Cancelled, unless it has ended already.
  void cancel() const;

 private:
  friend class Client;
  explicit Call(std::weak_ptr<detail::ActiveCall> call) : call_(std::move(call)) {}
  std::weak_ptr<detail::ActiveCall> call_;
};

/// A request's message.
v1::InferRequest request(std::string model, std::vector<v1::Item> items);

/// A request's message. Its items are moved there, which those of a braced list cannot be.
template <class... Items>
v1::InferRequest request(std::string model, v1::Item item, Items... further) {
  std::vector<v1::Item> items;
  items.reserve(1 + sizeof...(further));
  items.push_back(std::move(item));
  (items.push_back(std::move(further)), ...);
  return request(std::move(model), std::move(items));
}

/// A connection to a service. It connects with its first call, and again when the service was away. Threads may share
/// it. Every call that fails throws an Error, or gives its callback one; a call of a closed client, or in a process
/// that was forked since (gRPC does not survive that), throws a std::logic_error.
///
/// Callbacks run on gRPC's threads. They may make further calls, and close the client. What one for partials throws is
/// the error of its request; what one for answers throws is dropped.
class Client {
 public:
  /// Makes a client of the service that listens at `target`, such as "localhost:50051". Throws InvalidInput for options
  /// that cannot be.
  explicit Client(const std::string& target = "localhost:50051", const ClientOptions& options = {});
  /// Closes it.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Runs a request and waits for its answer.
  v1::InferResponse infer(v1::InferRequest request, const CallOptions& options = {});

  /// Runs a request and tells its answer to `done`.
  Call infer_async(v1::InferRequest request, Callback done, const CallOptions& options = {});

  /// Runs a request, whose caller reads what its items come to.
  Generation generate(v1::InferRequest request, const CallOptions& options = {});

  /// Runs a request, tells what its items come to, and its answer to `done`. What `partial` throws ends the call.
  Call generate_async(v1::InferRequest request, PartialCallback partial, Callback done,
                      const CallOptions& options = {});

  /// Opens a stream for many requests.
  RequestStream open_stream(const StreamOptions& options = {});

  /// Vectors of texts, by a model of the task "feature-extraction": one for each.
  std::vector<std::vector<float>> embed(const std::string& model, const std::vector<std::string>& texts,
                                        const CallOptions& options = {});

  /// What registers, loads and lists models.
  [[nodiscard]] Models models() const;

  /// The channel, for the stubs of webinfer::v1: the pool, the capabilities. Its errors are gRPC's own, and its calls
  /// have no deadline.
  [[nodiscard]] std::shared_ptr<grpc::Channel> channel() const;

  /// Cancels the calls that run, and waits until the last callback has returned (but for the one that calls this).
  void close();

 private:
  std::shared_ptr<detail::Core> core_;
};

/// This library's version.
const char* version() noexcept;

}  // namespace webinfer
