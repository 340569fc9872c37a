#include "webinfer/client.h"

#include "core.h"
#include "webinfer/output.h"

namespace webinfer {
namespace {

using detail::ActiveCall;
using detail::Core;
using detail::InCallback;

// A response, or the error of its call.
Result result(const Core& core, const grpc::Status& status, v1::InferResponse& response) {
  return status.ok() ? Result(std::move(response)) : Result(core.failure(status));
}

class AsyncInfer : public ActiveCall {
 public:
  AsyncInfer(std::shared_ptr<Core> of, std::chrono::milliseconds deadline, v1::InferRequest request, Callback done)
      : ActiveCall(std::move(of), deadline, Told::kCallbacks),
        request_(std::move(request)),
        done_(detail::given(std::move(done))) {}

  static void start(const std::shared_ptr<AsyncInfer>& call) {
    const auto done = [call](const grpc::Status& status) {
      const InCallback here(*call);
      detail::tell(call->done_, result(*call->core, status, call->response_));
    };
    call->connection().inference.async()->Infer(call->context(), &call->request_, &call->response_, done);
  }

 private:
  v1::InferRequest request_;
  v1::InferResponse response_;
  Callback done_;
};

class AsyncGenerate : public ActiveCall, private grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  AsyncGenerate(std::shared_ptr<Core> of, std::chrono::milliseconds deadline, v1::InferRequest request,
                PartialCallback partial, Callback done)
      : ActiveCall(std::move(of), deadline, Told::kCallbacks),
        partial_(std::move(partial)),
        done_(detail::given(std::move(done))) {
    *request_.mutable_request() = std::move(request);
  }

  static void start(const std::shared_ptr<AsyncGenerate>& call) {
    call->self_ = call;
    call->connection().inference.async()->Generate(call->context(), &call->request_, call.get());
    call->StartRead(&call->message_);
    call->StartCall();
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) {
      return;
    }
    if (message_.has_response()) {
      answer_ = std::move(*message_.mutable_response());
    } else if (message_.has_partial() && partial_ && thrown_ == nullptr) {
      const InCallback here(*this);
      try {
        partial_(message_.partial());
      } catch (...) {
        thrown_ = std::current_exception();
        cancel();
      }
    }
    StartRead(&message_);
  }

  void OnDone(const grpc::Status& status) override {
    // The last reference may be this one.
    const auto self = std::move(self_);
    const InCallback here(*this);
    if (thrown_ != nullptr) {
      detail::tell(done_, Result(thrown_));
    } else if (answer_) {
      detail::tell(done_, Result(*std::move(answer_)));
    } else {
      detail::tell(done_, Result(core->failure(status.ok() ? unanswered() : status)));
    }
  }

  static grpc::Status unanswered() { return {grpc::StatusCode::INTERNAL, "the call ended without an answer"}; }

  v1::GenerateRequest request_;
  v1::GenerateResponse message_;
  std::optional<v1::InferResponse> answer_;
  PartialCallback partial_;
  Callback done_;
  std::exception_ptr thrown_;
  std::shared_ptr<AsyncGenerate> self_;
};

}  // namespace

void Call::cancel() const {
  if (const auto call = call_.lock()) {
    call->cancel();
  }
}

v1::InferRequest request(std::string model, std::vector<v1::Item> items) {
  v1::InferRequest request;
  request.set_model(std::move(model));
  for (auto& item : items) {
    *request.add_items() = std::move(item);
  }
  return request;
}

Client::Client(const std::string& target, const ClientOptions& options)
    : core_(std::make_shared<Core>(target, options)) {}

Client::~Client() {
  if (core_->is_forked()) {
    // Ending gRPC in a forked process may wait for threads that are not there. The process has it as long as it lives.
    new std::shared_ptr<Core>(std::move(core_));
    return;
  }
  close();
}

v1::InferResponse Client::infer(v1::InferRequest request, const CallOptions& options) {
  ActiveCall call(core_, options.deadline.value_or(core_->options.deadline), ActiveCall::Told::kCaller);
  v1::InferResponse response;
  const auto status =
      call.connection().inference.Infer(call.context(), core_->with_priority(std::move(request)), &response);
  return result(*core_, status, response).response();
}

Call Client::infer_async(v1::InferRequest request, Callback done, const CallOptions& options) {
  auto call = std::make_shared<AsyncInfer>(core_, options.deadline.value_or(core_->options.deadline),
                                           core_->with_priority(std::move(request)), std::move(done));
  AsyncInfer::start(call);
  return Call(call);
}

Call Client::generate_async(v1::InferRequest request, PartialCallback partial, Callback done,
                            const CallOptions& options) {
  auto call =
      std::make_shared<AsyncGenerate>(core_, options.deadline.value_or(core_->options.deadline),
                                      core_->with_priority(std::move(request)), std::move(partial), std::move(done));
  AsyncGenerate::start(call);
  return Call(call);
}

std::vector<std::vector<float>> Client::embed(const std::string& model, const std::vector<std::string>& texts,
                                              const CallOptions& options) {
  v1::InferRequest request;
  request.set_model(model);
  for (const auto& text : texts) {
    request.add_items()->set_text(text);
  }
  const auto response = infer(std::move(request), options);
  std::vector<std::vector<float>> vectors;
  vectors.reserve(texts.size());
  for (const auto& result : response.results()) {
    const auto vector = output::embedding(result);
    vectors.emplace_back(vector.begin(), vector.end());
  }
  return vectors;
}

Models Client::models() const { return Models(core_); }

std::shared_ptr<grpc::Channel> Client::channel() const { return core_->connection()->channel; }

void Client::close() { core_->close(); }

const char* version() noexcept { return WEBINFER_VERSION; }

}  // namespace webinfer
