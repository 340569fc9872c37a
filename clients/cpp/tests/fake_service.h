// A service in this process that answers as its test tells it to.
#pragma once

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <webinfer/v1/inference.grpc.pb.h>
#include <webinfer/v1/model.grpc.pb.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace fake {

namespace v1 = webinfer::v1;

// An answer that names its request: the model, as a text.
inline v1::InferResponse answer(const v1::InferRequest& request) {
  v1::InferResponse response;
  response.add_results()->mutable_generated()->set_text(request.model());
  return response;
}

// What the service says of a request that it has no room for.
inline google::rpc::Status refusal(std::int64_t retry_after_ms) {
  google::rpc::Status status;
  status.set_code(grpc::StatusCode::RESOURCE_EXHAUSTED);
  status.set_message("no room");
  google::rpc::ErrorInfo info;
  info.set_reason("OVERLOADED");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(static_cast<int>(retry_after_ms * 1'000'000));
  status.add_details()->PackFrom(info);
  status.add_details()->PackFrom(retry);
  return status;
}

inline grpc::Status grpc_status(const google::rpc::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), status.message(), status.SerializeAsString()};
}

class Service final : public v1::InferenceService::Service {
 public:
  explicit Service(const std::string& address = "127.0.0.1:0") {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    builder.RegisterService(&models);
    server_ = builder.BuildAndStart();
  }
  ~Service() override {
    if (server_ != nullptr) {
      // Calls that hang are cancelled.
      server_->Shutdown(std::chrono::system_clock::now());
    }
  }

  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  // Waits until a call hangs, whose service waits for its cancellation.
  void wait_until_hanging() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return hanging_ > 0; });
  }

  std::function<grpc::Status(grpc::ServerContext&, const v1::InferRequest&, v1::InferResponse&)> on_infer =
      [](auto&, const auto& request, auto& response) {
        response = answer(request);
        return grpc::Status::OK;
      };
  std::function<grpc::Status(grpc::ServerContext&, const v1::InferRequest&,
                             const std::function<void(const v1::GenerateResponse&)>&)>
      on_generate;
  std::function<grpc::Status(grpc::ServerContext&,
                             grpc::ServerReaderWriter<v1::InferStreamResponse, v1::InferStreamRequest>&)>
      on_stream;

  // Answers nothing until the caller has cancelled.
  grpc::Status hang(grpc::ServerContext& context) {
    {
      const std::lock_guard lock(mutex_);
      ++hanging_;
      changed_.notify_all();
    }
    while (!context.IsCancelled()) {
      std::unique_lock lock(mutex_);
      // gRPC's synchronous server has no event for it.
      changed_.wait_for(lock, std::chrono::milliseconds(5));
    }
    return grpc::Status::CANCELLED;
  }

  class Models final : public v1::ModelService::Service {
   public:
    grpc::Status Load(grpc::ServerContext*, const v1::LoadRequest* request,
                      grpc::ServerWriter<v1::LoadResponse>* writer) override {
      v1::LoadResponse step;
      step.set_phase(v1::LOAD_PHASE_FILES);
      writer->Write(step);
      if (request->id() == "ready") {
        step.set_phase(v1::LOAD_PHASE_READY);
        writer->Write(step);
      }
      return grpc::Status::OK;
    }
    grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                          v1::RegisterResponse* response) override {
      *response->mutable_model()->mutable_spec() = request->spec();
      return grpc::Status::OK;
    }
    grpc::Status List(grpc::ServerContext*, const v1::ModelServiceListRequest*,
                      v1::ModelServiceListResponse* response) override {
      response->add_models()->mutable_spec()->set_id("a");
      response->add_models()->mutable_spec()->set_id("b");
      return grpc::Status::OK;
    }
    grpc::Status Get(grpc::ServerContext*, const v1::ModelServiceGetRequest*, v1::ModelServiceGetResponse*) override {
      return {grpc::StatusCode::NOT_FOUND, "there is no such model"};
    }
  } models;

 private:
  grpc::Status Infer(grpc::ServerContext* context, const v1::InferRequest* request,
                     v1::InferResponse* response) override {
    return on_infer(*context, *request, *response);
  }
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    return on_generate(*context, request->request(), [writer](const auto& message) { writer->Write(message); });
  }
  grpc::Status InferStream(grpc::ServerContext* context,
                           grpc::ServerReaderWriter<v1::InferStreamResponse, v1::InferStreamRequest>* stream) override {
    return on_stream(*context, *stream);
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int hanging_ = 0;
};

}  // namespace fake
