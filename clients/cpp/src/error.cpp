#include "webinfer/error.h"

#include "google/rpc/error_details.pb.h"

namespace webinfer {
namespace {

const char* name(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK:
      return "OK";
    case grpc::StatusCode::CANCELLED:
      return "CANCELLED";
    case grpc::StatusCode::INVALID_ARGUMENT:
      return "INVALID_ARGUMENT";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "DEADLINE_EXCEEDED";
    case grpc::StatusCode::NOT_FOUND:
      return "NOT_FOUND";
    case grpc::StatusCode::ALREADY_EXISTS:
      return "ALREADY_EXISTS";
    case grpc::StatusCode::PERMISSION_DENIED:
      return "PERMISSION_DENIED";
    case grpc::StatusCode::UNAUTHENTICATED:
      return "UNAUTHENTICATED";
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "RESOURCE_EXHAUSTED";
    case grpc::StatusCode::FAILED_PRECONDITION:
      return "FAILED_PRECONDITION";
    case grpc::StatusCode::ABORTED:
      return "ABORTED";
    case grpc::StatusCode::OUT_OF_RANGE:
      return "OUT_OF_RANGE";
    case grpc::StatusCode::UNIMPLEMENTED:
      return "UNIMPLEMENTED";
    case grpc::StatusCode::INTERNAL:
      return "INTERNAL";
    case grpc::StatusCode::UNAVAILABLE:
      return "UNAVAILABLE";
    case grpc::StatusCode::DATA_LOSS:
      return "DATA_LOSS";
    default:
      return "UNKNOWN";
  }
}

template <class E>
std::exception_ptr make(const std::string& message, ErrorFacts facts) {
  return std::make_exception_ptr(E(message, std::move(facts)));
}

}  // namespace

const char* Error::code_name() const noexcept { return name(facts_.code); }

std::exception_ptr to_exception(const google::rpc::Status& status) {
  ErrorFacts facts;
  facts.code = static_cast<grpc::StatusCode>(status.code());
  for (const auto& detail : status.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad;
    google::rpc::RetryInfo retry;
    if (detail.UnpackTo(&info)) {
      facts.reason = info.reason();
    } else if (detail.UnpackTo(&bad)) {
      for (const auto& violation : bad.field_violations()) {
        facts.fields.push_back(violation.field());
      }
    } else if (detail.UnpackTo(&retry)) {
      const auto& delay = retry.retry_delay();
      // Rounded up: who comes back a part of a millisecond early is refused again.
      facts.retry_after = std::chrono::milliseconds(delay.seconds() * 1000 + (delay.nanos() + 999'999) / 1'000'000);
    }
  }
  const auto& message = status.message();
  switch (facts.code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
      return make<InvalidInput>(message, std::move(facts));
    case grpc::StatusCode::NOT_FOUND:
      return make<NotFound>(message, std::move(facts));
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      // Without a reason it is gRPC's own word for a message that is over its reader's limit.
      return facts.reason.empty() ? make<InvalidInput>(message, std::move(facts))
                                  : make<Overloaded>(message, std::move(facts));
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return make<DeadlineExceeded>(message, std::move(facts));
    case grpc::StatusCode::CANCELLED:
      return make<Cancelled>(message, std::move(facts));
    case grpc::StatusCode::UNAVAILABLE:
      return make<Unavailable>(message, std::move(facts));
    default:
      return make<Error>(message, std::move(facts));
  }
}

std::exception_ptr to_exception(const grpc::Status& status) {
  google::rpc::Status details;
  // Broken details are not worth another error.
  if (status.error_details().empty() || !details.ParseFromString(status.error_details())) {
    details.Clear();
    details.set_message(status.error_message());
  }
  details.set_code(status.error_code());
  return to_exception(details);
}

}  // namespace webinfer
