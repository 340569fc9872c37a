#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <webinfer/webinfer.h>

#include <atomic>
#include <future>
#include <set>
#include <thread>

#include "fake_service.h"

namespace {

using namespace webinfer;
using std::chrono::milliseconds;

constexpr auto kSoon = std::chrono::seconds(30);

v1::InferRequest ask(const std::string& model) { return request(model, input::text("x")); }

v1::GenerateResponse partial(const std::string& text) {
  v1::GenerateResponse message;
  message.mutable_partial()->set_text(text);
  return message;
}

v1::GenerateResponse last(const v1::InferRequest& request) {
  v1::GenerateResponse message;
  *message.mutable_response() = fake::answer(request);
  return message;
}

ClientOptions once() {
  ClientOptions options;
  options.max_attempts = 1;
  return options;
}

// A callback, and the future that it fulfils.
std::pair<Callback, std::future<Result>> awaited() {
  auto promise = std::make_shared<std::promise<Result>>();
  auto future = promise->get_future();
  return {[promise](Result result) { promise->set_value(std::move(result)); }, std::move(future)};
}

Result get(std::future<Result>& future) {
  if (future.wait_for(kSoon) != std::future_status::ready) {
    throw std::runtime_error("no answer has come");
  }
  return future.get();
}

TEST(Infer, Answers) {
  fake::Service service;
  Client client(service.address());
  EXPECT_EQ(output::text(client.infer(ask("m")).results(0)), "m");
  auto [done, answer] = awaited();
  client.infer_async(ask("n"), done);
  EXPECT_EQ(output::text(get(answer).response().results(0)), "n");
}

TEST(Infer, TellsWhoCalls) {
  fake::Service service;
  std::string name;
  v1::Priority priority{};
  service.on_infer = [&](auto& context, const auto& request, auto&) {
    const auto& metadata = context.client_metadata();
    const auto found = metadata.find("webinfer-client");
    name = found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
    priority = request.priority();
    return grpc::Status::OK;
  };
  ClientOptions options;
  options.client_name = "nightly";
  options.priority = v1::PRIORITY_LOW;
  Client client(service.address(), options);
  client.infer(ask("m"));
  EXPECT_EQ(name, "nightly");
  EXPECT_EQ(priority, v1::PRIORITY_LOW);
  auto urgent = ask("m");
  urgent.set_priority(v1::PRIORITY_HIGH);
  client.infer(urgent);
  EXPECT_EQ(priority, v1::PRIORITY_HIGH);
}

TEST(Infer, ThrowsWhatTheServiceSays) {
  fake::Service service;
  service.on_infer = [](auto&, const auto&, auto&) {
    google::rpc::Status status;
    status.set_code(grpc::StatusCode::INVALID_ARGUMENT);
    status.set_message("items are missing");
    google::rpc::ErrorInfo info;
    info.set_reason("INVALID_FIELD");
    google::rpc::BadRequest bad;
    bad.add_field_violations()->set_field("items");
    status.add_details()->PackFrom(info);
    status.add_details()->PackFrom(bad);
    return fake::grpc_status(status);
  };
  Client client(service.address());
  try {
    client.infer(ask("m"));
    FAIL() << "it answers";
  } catch (const InvalidInput& error) {
    EXPECT_STREQ(error.what(), "items are missing");
    EXPECT_STREQ(error.code_name(), "INVALID_ARGUMENT");
    EXPECT_EQ(error.reason(), "INVALID_FIELD");
    EXPECT_EQ(error.fields(), std::vector<std::string>{"items"});
    EXPECT_FALSE(error.retry_after());
  }
}

TEST(Infer, ComesBackWhenTheServiceSays) {
  fake::Service service;
  std::atomic<int> attempts = 0;
  service.on_infer = [&](auto& context, const auto& request, auto& response) {
    if (++attempts < 3) {
      context.AddTrailingMetadata("grpc-retry-pushback-ms", "1");
      return fake::grpc_status(fake::refusal(1));
    }
    response = fake::answer(request);
    return grpc::Status::OK;
  };
  Client client(service.address());
  EXPECT_EQ(output::text(client.infer(ask("m")).results(0)), "m");
  EXPECT_EQ(attempts, 3);
}

TEST(Infer, DoesNotComeBackWhenTheServiceSaysNever) {
  fake::Service service;
  std::atomic<int> attempts = 0;
  service.on_infer = [&](auto& context, const auto&, auto&) {
    ++attempts;
    context.AddTrailingMetadata("grpc-retry-pushback-ms", "-1");
    return fake::grpc_status(fake::refusal(1500));
  };
  Client client(service.address());
  try {
    client.infer(ask("m"));
    FAIL() << "it answers";
  } catch (const Overloaded& error) {
    EXPECT_EQ(error.retry_after(), milliseconds(1500));
  }
  EXPECT_EQ(attempts, 1);
}

TEST(Infer, EndsAtItsDeadline) {
  fake::Service service;
  service.on_infer = [&](auto& context, const auto&, auto&) { return service.hang(context); };
  Client client(service.address());
  EXPECT_THROW(client.infer(ask("m"), {milliseconds(20)}), DeadlineExceeded);
  EXPECT_THROW(client.infer(ask("m"), {milliseconds(0)}), InvalidInput);
}

TEST(Infer, IsCancelled) {
  fake::Service service;
  service.on_infer = [&](auto& context, const auto&, auto&) { return service.hang(context); };
  Client client(service.address());
  auto [done, answer] = awaited();
  const auto call = client.infer_async(ask("m"), done);
  service.wait_until_hanging();
  call.cancel();
  EXPECT_THROW(get(answer).response(), Cancelled);
  call.cancel();
}

TEST(Infer, WithoutAServiceIsUnavailable) {
  Client client("127.0.0.1:1", once());
  try {
    client.infer(ask("m"));
    FAIL() << "nobody was there to answer";
  } catch (const Unavailable& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("127.0.0.1:1"), std::string::npos) << message;
    EXPECT_NE(message.find("webinfer serve"), std::string::npos) << message;
  }
}

TEST(Infer, FindsAServiceThatWentAwayAndCameBack) {
  auto service = std::make_unique<fake::Service>();
  const auto address = service->address();
  Client client(address);
  client.infer(ask("m"));
  service.reset();
  service = std::make_unique<fake::Service>(address);
  EXPECT_EQ(output::text(client.infer(ask("m")).results(0)), "m");
}

TEST(Infer, RefusesMessagesOverItsLimit) {
  fake::Service service;
  service.on_infer = [](auto&, const auto&, auto& response) {
    response.add_results()->mutable_generated()->set_text(std::string(4096, 'x'));
    return grpc::Status::OK;
  };
  ClientOptions options;
  options.max_message_bytes = 1024;
  Client client(service.address(), options);
  EXPECT_THROW(client.infer(ask(std::string(4096, 'x'))), InvalidInput);
  EXPECT_THROW(client.infer(ask("m")), InvalidInput);
}

TEST(Infer, IsForManyThreads) {
  fake::Service service;
  Client client(service.address());
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, name = std::to_string(i)] {
      for (int k = 0; k < 50; ++k) {
        good += output::text(client.infer(ask(name)).results(0)) == name ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(good, 400);
}

TEST(Generate, TellsPartialsAndTheAnswer) {
  fake::Service service;
  service.on_generate = [](auto&, const auto& request, const auto& write) {
    write(partial("a"));
    write(partial("b"));
    write(last(request));
    return grpc::Status::OK;
  };
  Client client(service.address());
  std::string text;
  auto generation = client.generate(ask("m"));
  while (const auto step = generation.next()) {
    text += step->text();
  }
  EXPECT_EQ(text, "ab");
  EXPECT_EQ(output::text(generation.response().results(0)), "m");
  EXPECT_FALSE(generation.next());

  auto [done, answer] = awaited();
  std::string told;
  client.generate_async(ask("n"), [&](const auto& step) { told += step.text(); }, done);
  EXPECT_EQ(output::text(get(answer).response().results(0)), "n");
  EXPECT_EQ(told, "ab");
}

TEST(Generate, IsCancelledAndStaysSo) {
  fake::Service service;
  service.on_generate = [&](auto& context, const auto&, const auto& write) {
    write(partial("a"));
    return service.hang(context);
  };
  Client client(service.address());
  auto generation = client.generate(ask("m"));
  EXPECT_TRUE(generation.next());
  generation.cancel();
  EXPECT_THROW(generation.next(), Cancelled);
  EXPECT_THROW(generation.response(), Cancelled);
  // One that is left cancels itself.
  client.generate(ask("m")).next();
}

TEST(Generate, EndsWithWhatACallbackThrows) {
  fake::Service service;
  service.on_generate = [&](auto& context, const auto&, const auto& write) {
    write(partial("a"));
    return service.hang(context);
  };
  Client client(service.address());
  auto [done, answer] = awaited();
  client.generate_async(ask("m"), [](const auto&) { throw std::out_of_range("enough"); }, done);
  EXPECT_THROW(get(answer).response(), std::out_of_range);
}

TEST(Generate, WithoutAnAnswerIsAnError) {
  fake::Service service;
  service.on_generate = [](auto&, const auto&, const auto& write) {
    write(partial("a"));
    return grpc::Status::OK;
  };
  Client client(service.address());
  EXPECT_THROW(client.generate(ask("m")).response(), Error);
}

// Answers each request of a stream with its model.
grpc::Status echo(grpc::ServerReaderWriter<v1::InferStreamResponse, v1::InferStreamRequest>& stream) {
  for (v1::InferStreamRequest request; stream.Read(&request);) {
    v1::InferStreamResponse response;
    response.set_request_id(request.request_id());
    if (request.partials()) {
      response.mutable_partial()->set_text("step");
      stream.Write(response);
    }
    *response.mutable_response() = fake::answer(request.request());
    stream.Write(response);
  }
  return grpc::Status::OK;
}

TEST(Stream, AnswersEach) {
  fake::Service service;
  service.on_stream = [](auto&, auto& stream) { return echo(stream); };
  Client client(service.address());
  auto stream = client.open_stream({std::nullopt, 4});
  std::vector<std::future<v1::InferResponse>> answers;
  for (int i = 0; i < 200; ++i) {
    answers.push_back(stream.send(ask(std::to_string(i))));
  }
  std::string text;
  auto [done, answer] = awaited();
  stream.send(ask("partials"), done, [&](const auto& step) { text += step.text(); });
  stream.finish();
  stream.finish();
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(output::text(answers[i].get().results(0)), std::to_string(i));
  }
  EXPECT_TRUE(get(answer));
  EXPECT_EQ(text, "step");
  EXPECT_THROW(stream.send(ask("late")), std::logic_error);
}

TEST(Stream, HasNoMoreInFlightThanItMay) {
  fake::Service service;
  std::atomic<int> most = 0;
  service.on_stream = [&](auto&, auto& stream) {
    // Three may be sent before an answer comes: a fourth would be here, if it were sent.
    std::vector<std::string> ids;
    for (v1::InferStreamRequest request; stream.Read(&request);) {
      ids.push_back(request.request_id());
      most = std::max(most.load(), static_cast<int>(ids.size()));
      if (ids.size() == 3) {
        for (const auto& id : ids) {
          v1::InferStreamResponse response;
          response.set_request_id(id);
          response.mutable_response();
          stream.Write(response);
        }
        ids.clear();
      }
    }
    return grpc::Status::OK;
  };
  Client client(service.address());
  auto stream = client.open_stream({std::nullopt, 3});
  for (int i = 0; i < 9; ++i) {
    stream.send(ask("m"), [](const Result&) {});
  }
  stream.finish();
  EXPECT_EQ(most, 3);
}

TEST(Stream, SendsAgainWhatWasRefused) {
  fake::Service service;
  std::set<std::string> refused;
  service.on_stream = [&](auto&, auto& stream) {
    for (v1::InferStreamRequest request; stream.Read(&request);) {
      v1::InferStreamResponse response;
      response.set_request_id(request.request_id());
      if (request.request().model() == "never" || refused.insert(request.request_id()).second) {
        *response.mutable_error() = fake::refusal(1);
      } else {
        *response.mutable_response() = fake::answer(request.request());
      }
      stream.Write(response);
    }
    return grpc::Status::OK;
  };
  Client client(service.address());
  auto stream = client.open_stream();
  auto good = stream.send(ask("m"));
  auto bad = stream.send(ask("never"));
  stream.finish();
  EXPECT_EQ(output::text(good.get().results(0)), "m");
  EXPECT_THROW(bad.get(), Overloaded);
}

TEST(Stream, ThatFailsTellsAll) {
  fake::Service service;
  service.on_stream = [](auto&, auto& stream) {
    v1::InferStreamRequest request;
    stream.Read(&request);
    return grpc::Status(grpc::StatusCode::INTERNAL, "broken");
  };
  Client client(service.address());
  auto stream = client.open_stream();
  auto answer = stream.send(ask("m"));
  EXPECT_THROW(answer.get(), Error);
  EXPECT_THROW(stream.finish(), Error);
  EXPECT_THROW(stream.send(ask("m")), std::exception);
}

// A callback that throws whatever it is told.
Callback throwing(std::atomic<int>& told) {
  return [&told](const Result&) {
    ++told;
    throw std::out_of_range("mine");
  };
}

TEST(Stream, GoesOnWhereCallbacksThrow) {
  fake::Service service;
  service.on_stream = [](auto&, auto& stream) {
    v1::InferStreamRequest request;
    stream.Read(&request);
    v1::InferStreamResponse response;
    response.set_request_id(request.request_id());
    response.mutable_error()->set_code(grpc::StatusCode::NOT_FOUND);
    stream.Write(response);
    return echo(stream);
  };
  Client client(service.address());
  auto stream = client.open_stream();
  std::atomic<int> told = 0;
  // Of an error, of an answer, and of what a callback for partials throws.
  stream.send(ask("m"), throwing(told));
  stream.send(ask("m"), throwing(told));
  stream.send(ask("m"), throwing(told), [](const auto&) { throw std::out_of_range("mine"); });
  auto answer = stream.send(ask("n"));
  stream.finish();
  EXPECT_EQ(told, 3);
  EXPECT_EQ(output::text(answer.get().results(0)), "n");
}

TEST(Stream, ThatFailsEndsWhereCallbacksThrow) {
  fake::Service service;
  service.on_stream = [&](auto& context, auto&) { return service.hang(context); };
  Client client(service.address());
  auto stream = client.open_stream();
  std::atomic<int> told = 0;
  stream.send(ask("m"), throwing(told));
  stream.send(ask("m"), throwing(told));
  service.wait_until_hanging();
  stream.cancel();
  EXPECT_THROW(stream.finish(), Cancelled);
  EXPECT_EQ(told, 2);
}

TEST(Closing, WaitsForCallbacksThatThrow) {
  fake::Service service;
  service.on_generate = [](auto&, const auto& request, const auto& write) {
    write(last(request));
    return grpc::Status::OK;
  };
  std::atomic<int> told = 0;
  {
    Client client(service.address());
    client.infer_async(ask("m"), throwing(told));
    client.generate_async(ask("m"), nullptr, throwing(told));
    client.generate_async(ask("m"), [](const auto&) {}, throwing(told));
  }
  EXPECT_EQ(told, 3);
}

TEST(Stream, IsCancelledByItsEnd) {
  fake::Service service;
  service.on_stream = [&](auto& context, auto&) { return service.hang(context); };
  Client client(service.address());
  std::future<v1::InferResponse> answer;
  {
    auto stream = client.open_stream();
    answer = stream.send(ask("m"));
    service.wait_until_hanging();
  }
  EXPECT_THROW(answer.get(), Cancelled);
}

TEST(Stream, MayBeFedByItsCallbacks) {
  fake::Service service;
  service.on_stream = [](auto&, auto& stream) { return echo(stream); };
  Client client(service.address());
  auto stream = client.open_stream({std::nullopt, 1});
  std::promise<void> ended;
  int left = 20;
  Callback next = [&](const Result& result) {
    if (!result || --left == 0) {
      ended.set_value();
    } else {
      stream.send(ask("m"), next);
    }
  };
  stream.send(ask("m"), next);
  ASSERT_EQ(ended.get_future().wait_for(kSoon), std::future_status::ready);
  EXPECT_EQ(left, 0);
  stream.finish();
}

TEST(Stream, IgnoresAnswersThatNobodyAskedFor) {
  fake::Service service;
  service.on_stream = [](auto&, auto& stream) {
    v1::InferStreamResponse response;
    response.set_request_id("no such id");
    response.mutable_response();
    stream.Write(response);
    return echo(stream);
  };
  Client client(service.address());
  auto stream = client.open_stream();
  auto answer = stream.send(ask("m"));
  stream.finish();
  EXPECT_EQ(output::text(answer.get().results(0)), "m");
  EXPECT_THROW(client.open_stream({std::nullopt, 0}), InvalidInput);
}

TEST(Models, AreRegisteredLoadedAndListed) {
  fake::Service service;
  Client client(service.address());
  const auto models = client.models();
  EXPECT_EQ(models.list().size(), 2U);
  v1::ModelSpec spec;
  spec.set_id("mine");
  EXPECT_EQ(models.add(spec).spec().id(), "mine");
  int steps = 0;
  EXPECT_EQ(models.load("ready", [&](const auto&) { ++steps; }).phase(), v1::LOAD_PHASE_READY);
  EXPECT_EQ(steps, 2);
  EXPECT_THROW(models.load("stuck"), Error);
  EXPECT_THROW(models.get("none"), NotFound);
  EXPECT_THROW(models.remove("none"), Error);
}

TEST(Closing, CancelsWhatRunsAndWaitsForCallbacks) {
  fake::Service service;
  service.on_infer = [&](auto& context, const auto&, auto&) { return service.hang(context); };
  auto client = std::make_unique<Client>(service.address());
  bool told = false;
  client->infer_async(ask("m"), [&](const Result& result) {
    EXPECT_THROW(result.response(), Cancelled);
    told = true;
  });
  service.wait_until_hanging();
  client->close();
  EXPECT_TRUE(told);
  EXPECT_THROW(client->infer(ask("m")), std::logic_error);
  client->close();
}

TEST(Closing, MayHappenInACallbackAndBesideAStream) {
  fake::Service service;
  service.on_stream = [](auto&, auto& stream) { return echo(stream); };
  Client client(service.address());
  auto stream = client.open_stream();
  std::promise<void> closed;
  client.infer_async(ask("m"), [&](const Result&) {
    client.close();
    closed.set_value();
  });
  ASSERT_EQ(closed.get_future().wait_for(kSoon), std::future_status::ready);
  EXPECT_THROW(client.models().list(), std::logic_error);
  EXPECT_THROW(stream.finish(), Cancelled);
}

TEST(Closing, OfAForkedClientIsHarmlessAndItsCallsAreRefused) {
  fake::Service service;
  auto client = std::make_unique<Client>(service.address());
  client->infer(ask("m"));
  const auto child = fork();
  if (child == 0) {
    try {
      client->infer(ask("m"));
    } catch (const std::logic_error&) {
      client.reset();
      _exit(0);
    }
    _exit(1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(Options, ThatCannotBeAreRefused) {
  const auto refused = [](const std::function<void(ClientOptions&)>& change) {
    ClientOptions options;
    change(options);
    EXPECT_THROW(Client("localhost:1", options), InvalidInput);
  };
  EXPECT_THROW(Client(""), InvalidInput);
  EXPECT_THROW(Client("http://localhost:50051"), InvalidInput);
  refused([](auto& it) { it.deadline = milliseconds(0); });
  refused([](auto& it) { it.load_deadline = milliseconds(-1); });
  refused([](auto& it) { it.max_attempts = 0; });
  refused([](auto& it) { it.max_attempts = 6; });
  refused([](auto& it) { it.first_backoff = milliseconds(0); });
  refused([](auto& it) { it.longest_backoff = milliseconds(1); });
  refused([](auto& it) { it.max_message_bytes = 0; });
  refused([](auto& it) { it.client_name = "two\nlines"; });
  refused([](auto& it) { it.client_name = std::string(129, 'x'); });
}

}  // namespace
