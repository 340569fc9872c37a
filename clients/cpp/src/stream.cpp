#include "webinfer/stream.h"

#include <grpcpp/alarm.h>

#include <deque>
#include <stdexcept>
#include <unordered_map>

#include "core.h"

namespace webinfer {

class RequestStream::State : public detail::ActiveCall,
                             public std::enable_shared_from_this<RequestStream::State>,
                             private grpc::ClientBidiReactor<v1::InferStreamRequest, v1::InferStreamResponse> {
 public:
  State(std::shared_ptr<detail::Core> of, const StreamOptions& options)
      : ActiveCall(std::move(of), options.deadline, Told::kCallbacks), in_flight_(options.in_flight) {
    if (in_flight_ == 0) {
      throw InvalidInput("in_flight must be 1 or more");
    }
  }

  void start() {
    self_ = shared_from_this();
    connection().inference.async()->InferStream(context(), this);
    // Others than gRPC's own threads begin writes.
    AddHold();
    StartRead(&answer_);
    StartCall();
  }

  void send(v1::InferRequest request, Callback done, PartialCallback partial) {
    auto sent = std::make_shared<Sent>();
    *sent->message.mutable_request() = core->with_priority(std::move(request));
    sent->message.set_partials(partial != nullptr);
    sent->done = detail::given(std::move(done));
    sent->partial = std::move(partial);
    std::unique_lock lock(mutex_);
    const auto has_room = [this] { return finishing_ || status_ || (!ended_ && waiting_.size() < in_flight_); };
    if (detail::InCallback::of(*this)) {
      if (!has_room()) {
        throw std::logic_error("a callback of a stream cannot wait for a place in it");
      }
    } else {
      changed_.wait(lock, has_room);
    }
    if (finishing_) {
      throw std::logic_error("the stream is finished");
    }
    if (status_) {
      std::rethrow_exception(failure());
    }
    sent->message.set_request_id(std::to_string(next_++));
    waiting_.emplace(sent->message.request_id(), sent);
    outgoing_.push_back(std::move(sent));
    write();
  }

  void finish() {
    if (detail::InCallback::of(*this)) {
      throw std::logic_error("a callback of a stream cannot wait for its end");
    }
    std::unique_lock lock(mutex_);
    finishing_ = true;
    changed_.notify_all();
    half_close();
    changed_.wait(lock, [this] { return done_; });
    if (!status_->ok()) {
      std::rethrow_exception(failure());
    }
  }

  // Cancels it, and waits until the last callback has returned.
  void leave() {
    cancel();
    if (!detail::InCallback::of(*this)) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return done_; });
    }
  }

 private:
  // A request without an answer yet.
  struct Sent {
    v1::InferStreamRequest message;
    Callback done;
    PartialCallback partial;
    int attempts = 1;
    std::unique_ptr<grpc::Alarm> again;
  };

  void OnReadDone(bool ok) override {
    if (!ok) {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      let_go();
      return;
    }
    if (const auto sent = find(answer_.request_id())) {
      const detail::InCallback here(*this);
      if (answer_.has_partial()) {
        tell(*sent);
      } else if (answer_.has_response()) {
        detail::tell(take(*sent), Result(std::move(*answer_.mutable_response())));
      } else {
        refuse(sent);
      }
    }
    StartRead(&answer_);
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    writing_.reset();
    if (ok) {
      write();
      half_close();
    }
  }

  void OnDone(const grpc::Status& status) override {
    // The last reference may be this one.
    const auto self = std::move(self_);
    decltype(waiting_) left;
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      status_ = status;
      left.swap(waiting_);
      outgoing_.clear();
      changed_.notify_all();
    }
    {
      const detail::InCallback here(*this);
      for (const auto& [id, sent] : left) {
        detail::tell(std::exchange(sent->done, nullptr), Result(failure()));
      }
      left.clear();
    }
    // Who has the stream may keep it for as long as he likes, beyond its client.
    ActiveCall::end();
    const std::lock_guard lock(mutex_);
    done_ = true;
    changed_.notify_all();
  }

  std::shared_ptr<Sent> find(const std::string& id) {
    const std::lock_guard lock(mutex_);
    const auto found = waiting_.find(id);
    return found == waiting_.end() ? nullptr : found->second;
  }

  // The callback of a request that is answered, whose place is another's now.
  Callback take(Sent& sent) {
    const std::lock_guard lock(mutex_);
    waiting_.erase(sent.message.request_id());
    changed_.notify_all();
    half_close();
    return std::exchange(sent.done, nullptr);
  }

  void tell(Sent& sent) {
    if (!sent.partial) {
      return;
    }
    try {
      sent.partial(answer_.partial());
    } catch (...) {
      detail::tell(take(sent), Result(std::current_exception()));
    }
  }

  // Sends it again when the service says, or tells its error.
  void refuse(const std::shared_ptr<Sent>& sent) {
    auto error = to_exception(answer_.error());
    const auto retry_after = retry(error);
    if (!retry_after || sent->attempts >= core->options.max_attempts) {
      detail::tell(take(*sent), Result(std::move(error)));
      return;
    }
    const std::lock_guard lock(mutex_);
    ++sent->attempts;
    sent->again = std::make_unique<grpc::Alarm>();
    sent->again->Set(std::chrono::system_clock::now() + *retry_after,
                     [weak = weak_from_this(), id = sent->message.request_id()](bool ok) {
                       if (const auto self = weak.lock(); self && ok) {
                         self->send_again(id);
                       }
                     });
  }

  void send_again(const std::string& id) {
    const std::lock_guard lock(mutex_);
    if (const auto found = waiting_.find(id); found != waiting_.end() && !ended_) {
      outgoing_.push_back(found->second);
      write();
    }
  }

  // When an error says to come back.
  static std::optional<std::chrono::milliseconds> retry(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const Overloaded& overloaded) {
      return overloaded.retry_after();
    } catch (const Unavailable& unavailable) {
      return unavailable.retry_after();
    } catch (...) {
      return std::nullopt;
    }
  }

  [[nodiscard]] std::exception_ptr failure() const {
    return core->failure(status_->ok() ? grpc::Status(grpc::StatusCode::INTERNAL, "the stream ended without an answer")
                                       : *status_);
  }

  // The rest is called with the lock held.

  void write() {
    if (writing_ == nullptr && !outgoing_.empty() && held_) {
      writing_ = std::move(outgoing_.front());
      outgoing_.pop_front();
      StartWrite(&writing_->message);
    }
  }

  // Not before all are answered: what is refused is sent again.
  void half_close() {
    if (finishing_ && waiting_.empty() && held_) {
      StartWritesDone();
      let_go();
    }
  }

  // Nothing is written any more.
  void let_go() {
    if (std::exchange(held_, false)) {
      RemoveHold();
    }
  }

  const std::size_t in_flight_;
  v1::InferStreamResponse answer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<std::string, std::shared_ptr<Sent>> waiting_;
  std::deque<std::shared_ptr<Sent>> outgoing_;
  std::shared_ptr<Sent> writing_;
  std::uint64_t next_ = 0;
  bool held_ = true;
  bool finishing_ = false;
  // Nothing is read any more; then it is known how it went; then the last callback has returned.
  bool ended_ = false;
  std::optional<grpc::Status> status_;
  bool done_ = false;
  std::shared_ptr<State> self_;
};

RequestStream::RequestStream(std::shared_ptr<State> state) : state_(std::move(state)) {}
RequestStream::RequestStream(RequestStream&&) noexcept = default;

RequestStream& RequestStream::operator=(RequestStream&& other) noexcept {
  if (this != &other) {
    RequestStream ended(std::move(*this));
    state_ = std::move(other.state_);
  }
  return *this;
}

RequestStream::~RequestStream() {
  if (state_ != nullptr) {
    state_->leave();
  }
}

void RequestStream::send(v1::InferRequest request, Callback done, PartialCallback partial) {
  state_->send(std::move(request), std::move(done), std::move(partial));
}

std::future<v1::InferResponse> RequestStream::send(v1::InferRequest request) {
  auto promise = std::make_shared<std::promise<v1::InferResponse>>();
  auto answer = promise->get_future();
  send(std::move(request), [promise](Result result) {
    if (result) {
      promise->set_value(std::move(result).response());
    } else {
      promise->set_exception(result.error());
    }
  });
  return answer;
}

void RequestStream::finish() { state_->finish(); }
void RequestStream::cancel() const { state_->cancel(); }

RequestStream Client::open_stream(const StreamOptions& options) {
  auto state = std::make_shared<RequestStream::State>(core_, options);
  state->start();
  return RequestStream(std::move(state));
}

}  // namespace webinfer
