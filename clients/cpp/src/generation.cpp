#include "webinfer/generation.h"

#include "core.h"

namespace webinfer {

class Generation::State : public detail::ActiveCall {
 public:
  State(const std::shared_ptr<detail::Core>& of, std::chrono::milliseconds deadline, v1::InferRequest request)
      : ActiveCall(of, deadline, Told::kCaller) {
    v1::GenerateRequest message;
    *message.mutable_request() = core->with_priority(std::move(request));
    reader_ = connection().inference.Generate(context(), message);
  }

  ~State() override {
    if (!ended_) {
      cancel();
      while (reader_->Read(&message_)) {
      }
      reader_->Finish();
    }
  }

  std::optional<v1::Partial> next() {
    while (!ended_ && reader_->Read(&message_)) {
      if (message_.has_partial()) {
        return std::move(*message_.mutable_partial());
      }
      if (message_.has_response()) {
        answer_ = std::move(*message_.mutable_response());
      }
    }
    if (!ended_) {
      ended_ = true;
      const auto status = reader_->Finish();
      if (!answer_) {
        error_ = core->failure(
            status.ok() ? grpc::Status(grpc::StatusCode::INTERNAL, "the call ended without an answer") : status);
      }
    }
    if (error_ != nullptr) {
      std::rethrow_exception(error_);
    }
    return std::nullopt;
  }

  const v1::InferResponse& response() {
    while (next()) {
    }
    return *answer_;
  }

 private:
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader_;
  v1::GenerateResponse message_;
  std::optional<v1::InferResponse> answer_;
  std::exception_ptr error_;
  bool ended_ = false;
};

Generation::Generation(std::unique_ptr<State> state) : state_(std::move(state)) {}
Generation::~Generation() = default;
Generation::Generation(Generation&&) noexcept = default;
Generation& Generation::operator=(Generation&&) noexcept = default;

std::optional<v1::Partial> Generation::next() { return state_->next(); }
const v1::InferResponse& Generation::response() { return state_->response(); }
void Generation::cancel() const { state_->cancel(); }

Generation Client::generate(v1::InferRequest request, const CallOptions& options) {
  const auto deadline = options.deadline.value_or(core_->options.deadline);
  return Generation(std::make_unique<Generation::State>(core_, deadline, std::move(request)));
}

}  // namespace webinfer
