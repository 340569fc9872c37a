#include "webinfer/models.h"

#include "core.h"

namespace webinfer {
namespace {

using detail::Core;
using Stub = v1::ModelService::Stub;

// The answer of a call, within the client's deadline.
template <class Request, class Response>
Response call(const std::shared_ptr<Core>& core,
              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*), const Request& request) {
  detail::ActiveCall active(core, core->options.deadline, detail::ActiveCall::Told::kCaller);
  Response response;
  const auto status = (active.connection().models.*method)(active.context(), request, &response);
  if (!status.ok()) {
    std::rethrow_exception(core->failure(status));
  }
  return response;
}

template <class Request>
Request of(const std::string& id) {
  Request request;
  request.set_id(id);
  return request;
}

}  // namespace

std::vector<v1::Model> Models::list() const {
  auto response = call(core_, &Stub::List, v1::ModelServiceListRequest());
  auto& models = *response.mutable_models();
  return {std::make_move_iterator(models.begin()), std::make_move_iterator(models.end())};
}

v1::Model Models::get(const std::string& id) const {
  return std::move(*call(core_, &Stub::Get, of<v1::ModelServiceGetRequest>(id)).mutable_model());
}

v1::Model Models::add(v1::ModelSpec spec) const {
  v1::RegisterRequest request;
  *request.mutable_spec() = std::move(spec);
  return std::move(*call(core_, &Stub::Register, request).mutable_model());
}

v1::LoadResponse Models::load(const std::string& id,
                              const std::function<void(const v1::LoadResponse&)>& progress) const {
  detail::ActiveCall active(core_, core_->options.load_deadline, detail::ActiveCall::Told::kCaller);
  const auto reader = active.connection().models.Load(active.context(), of<v1::LoadRequest>(id));
  v1::LoadResponse step;
  while (reader->Read(&step)) {
    if (progress) {
      progress(step);
    }
  }
  auto status = reader->Finish();
  if (status.ok() && step.phase() != v1::LOAD_PHASE_READY && step.phase() != v1::LOAD_PHASE_SIMULATED) {
    status = {grpc::StatusCode::INTERNAL, "the load ended without a last step"};
  }
  if (!status.ok()) {
    std::rethrow_exception(core_->failure(status));
  }
  return step;
}

std::uint32_t Models::unload(const std::string& id) const {
  return call(core_, &Stub::Unload, of<v1::UnloadRequest>(id)).ended_replicas();
}

void Models::remove(const std::string& id) const { call(core_, &Stub::Unregister, of<v1::UnregisterRequest>(id)); }

}  // namespace webinfer
