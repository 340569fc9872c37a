#include "core.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <stdexcept>
#include <thread>

namespace webinfer::detail {
namespace {

using std::chrono::milliseconds;

// gRPC makes no more.
constexpr int kMostAttempts = 5;
// Longer waits are as good as none, and the clock's arithmetic holds.
constexpr milliseconds kLongestDeadline = std::chrono::hours(24 * 365);

const ClientOptions& checked(const std::string& target, const ClientOptions& options) {
  const std::pair<bool, const char*> rules[] = {
      {!target.empty() && target.rfind("http://", 0) != 0 && target.rfind("https://", 0) != 0,
       "the target must be a host and a port, such as localhost:50051"},
      {options.deadline > milliseconds(0) && options.load_deadline > milliseconds(0), "deadlines must be above 0"},
      {options.max_attempts >= 1 && options.max_attempts <= kMostAttempts, "max_attempts must be 1 to 5"},
      {options.first_backoff > milliseconds(0) && options.first_backoff <= options.longest_backoff,
       "first_backoff must be above 0, and not above longest_backoff"},
      {options.longest_backoff <= kLongestDeadline, "longest_backoff must be at most a year"},
      {options.max_message_bytes > 0, "max_message_bytes must be above 0"},
      // gRPC aborts the program where metadata has others.
      {options.client_name.size() <= 128 && std::all_of(options.client_name.begin(), options.client_name.end(),
                                                        [](char c) { return ' ' <= c && c <= '~'; }),
       "client_name must be at most 128 printable ASCII characters"},
  };
  for (const auto& [holds, message] : rules) {
    if (!holds) {
      throw InvalidInput(message);
    }
  }
  return options;
}

std::string seconds(milliseconds time) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%lld.%03llds", static_cast<long long>(time.count() / 1000),
                static_cast<long long>(time.count() % 1000));
  return text.data();
}

// https://github.com/grpc/grpc/blob/master/doc/service_config.md
std::string service_config(const ClientOptions& options) {
  if (options.max_attempts == 1) {
    return "{}";
  }
  return R"({"methodConfig":[{"name":[{"service":"webinfer.v1.InferenceService"},{"service":"webinfer.v1.ModelService"},)"
         R"({"service":"webinfer.v1.PoolService"},{"service":"webinfer.v1.CapabilityService"}],"retryPolicy":{)"
         R"("retryableStatusCodes":["RESOURCE_EXHAUSTED","UNAVAILABLE"],"backoffMultiplier":2,"maxAttempts":)" +
         std::to_string(options.max_attempts) + R"(,"initialBackoff":")" + seconds(options.first_backoff) +
         R"(","maxBackoff":")" + seconds(options.longest_backoff) + R"("}}]})";
}

std::shared_ptr<grpc::Channel> connect(const std::string& target, const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(service_config(options));
  arguments.SetMaxSendMessageSize(options.max_message_bytes);
  arguments.SetMaxReceiveMessageSize(options.max_message_bytes);
  // Calls whose messages do not fit are not tried again.
  arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, options.max_message_bytes);
  const auto first = static_cast<int>(std::min<std::int64_t>(options.first_backoff.count(), INT32_MAX));
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, first);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, first);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
                   static_cast<int>(std::min<std::int64_t>(options.longest_backoff.count(), INT32_MAX)));
  // A service that is gone without a word is found out.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  // Two clients of a process have a connection each.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetUserAgentPrefix(std::string("webinfer-cpp/") + version());
  const auto credentials = options.credentials ? options.credentials : grpc::InsecureChannelCredentials();
  return grpc::CreateCustomChannel(target, credentials, arguments);
}

}  // namespace

thread_local const ActiveCall* InCallback::current_ = nullptr;

Core::Core(const std::string& target, const ClientOptions& given)
    : options(checked(target, given)),
      target_(target),
      process_(getpid()),
      connection_(std::make_shared<Connection>(connect(target, options))) {}

void Core::close() {
  std::unique_lock lock(mutex_);
  closed_ = true;
  for (auto* call : calls_) {
    call->context_->TryCancel();
  }
  const std::size_t own = InCallback::of(*this) ? 1 : 0;
  closing_callbacks_ += own;
  changed_.notify_all();
  changed_.wait(lock, [this] { return callbacks_ <= closing_callbacks_; });
  closing_callbacks_ -= own;
  if (own != 0) {
    // Another thread ends the connection, as soon as this callback has returned.
    std::thread([core = shared_from_this()] { core->close(); }).detach();
    return;
  }
  const auto ended = std::move(connection_);
  lock.unlock();
}

bool Core::is_closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

bool Core::is_forked() const { return getpid() != process_; }

std::shared_ptr<Connection> Core::connection() const {
  if (is_forked()) {
    throw std::logic_error("this client was made before the process was forked, which gRPC does not survive");
  }
  const std::lock_guard lock(mutex_);
  if (closed_) {
    throw std::logic_error("the client is closed");
  }
  return connection_;
}

v1::InferRequest Core::with_priority(v1::InferRequest request) const {
  if (request.priority() == v1::PRIORITY_UNSPECIFIED) {
    request.set_priority(options.priority);
  }
  return request;
}

std::exception_ptr Core::failure(const grpc::Status& status) const {
  if (status.error_code() == grpc::StatusCode::CANCELLED && is_closed()) {
    return to_exception(grpc::Status(status.error_code(), "the client was closed while the call ran"));
  }
  // What is gRPC's own has no details, and does not say where it called.
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE && status.error_details().empty()) {
    const auto where = "no service answers at " + target_ + "; does `webinfer serve` run there? ";
    return to_exception(grpc::Status(status.error_code(), where + status.error_message()));
  }
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED && status.error_details().empty()) {
    return to_exception(grpc::Status(status.error_code(), "no answer came from " + target_ + " in time"));
  }
  return to_exception(status);
}

ActiveCall::ActiveCall(std::shared_ptr<Core> of, std::optional<std::chrono::milliseconds> deadline, Told told)
    : core(std::move(of)),
      told_(told),
      connection_(core->connection()),
      context_(std::make_unique<grpc::ClientContext>()) {
  if (deadline) {
    if (*deadline <= milliseconds(0)) {
      throw InvalidInput("a deadline must be above 0");
    }
    context_->set_deadline(std::chrono::system_clock::now() + std::min(*deadline, kLongestDeadline));
  }
  if (!core->options.client_name.empty()) {
    context_->AddMetadata("webinfer-client", core->options.client_name);
  }
  const std::lock_guard lock(core->mutex_);
  core->calls_.insert(this);
  if (told_ == Told::kCallbacks) {
    ++core->callbacks_;
  }
  if (core->closed_) {
    // Meanwhile: the call ends as soon as it begins.
    context_->TryCancel();
  }
}

void ActiveCall::cancel() {
  const std::lock_guard lock(core->mutex_);
  if (context_ != nullptr) {
    context_->TryCancel();
  }
}

void ActiveCall::end() {
  std::unique_lock lock(core->mutex_);
  if (core->calls_.erase(this) == 0) {
    return;
  }
  auto context = std::move(context_);
  lock.unlock();
  context.reset();
  connection_.reset();
  lock.lock();
  if (told_ == Told::kCallbacks) {
    --core->callbacks_;
    core->changed_.notify_all();
  }
}

}  // namespace webinfer::detail
