package dev.webinfer;

import dev.webinfer.v1.GenerateRequest;
import dev.webinfer.v1.GenerateResponse;
import dev.webinfer.v1.InferRequest;
import dev.webinfer.v1.InferenceServiceGrpc;
import dev.webinfer.v1.Item;
import dev.webinfer.v1.Partial;
import dev.webinfer.v1.Priority;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * A connection to a service. Thread-safe, and meant to be shared and kept: it connects when it must, and again when the
 * service was away.
 *
 * <p>Every failed call throws a {@link WebinferException}, or completes its future with one. A call of a closed client
 * throws an {@link IllegalStateException}.
 */
public final class WebinferClient implements AutoCloseable {
  /** How long {@link #close} waits for calls to end that it has cancelled. */
  private static final Duration CLOSING = Duration.ofSeconds(5);

  private final ManagedChannel channel;
  private final Calls calls;
  private final Duration deadline;
  private final Priority priority;
  private final Models models;

  WebinferClient(Calls calls, ManagedChannel channel, Duration deadline, Duration loadDeadline, Priority priority) {
    this.channel = channel;
    this.deadline = deadline;
    this.priority = priority;
    this.calls = calls;
    models = new Models(calls, deadline, loadDeadline);
  }

  /**
   * Makes a client with default settings, over clear text.
   *
   * @param target where the service listens, such as {@code localhost:50051}
   * @return the client; it connects with its first call
   */
  public static WebinferClient connect(String target) {
    return builder(target).build();
  }

  /**
   * Begins a client over clear text, as the service itself speaks.
   *
   * @param target where the service listens, such as {@code localhost:50051}
   * @return a builder
   */
  public static ClientBuilder builder(String target) {
    return builder(target, InsecureChannelCredentials.create());
  }

  /**
   * Begins a client for a service behind a proxy that speaks TLS.
   *
   * @param target where the proxy listens
   * @param credentials such as {@link io.grpc.TlsChannelCredentials#create}
   * @return a builder
   */
  public static ClientBuilder builder(String target, ChannelCredentials credentials) {
    return builder(Grpc.newChannelBuilder(target, credentials));
  }

  /**
   * Begins a client over a channel of the caller's making, for what else gRPC can be told. Message limits, retries and
   * the user agent are set over it.
   *
   * @param channel the channel's builder, which the client takes over
   * @return a builder
   */
  public static ClientBuilder builder(ManagedChannelBuilder<?> channel) {
    return new ClientBuilder(channel);
  }

  /**
   * Returns this library's version.
   *
   * @return the version, such as "0.1.0"
   */
  public static String version() {
    return ClientBuilder.VERSION;
  }

  /**
   * Returns what registers, loads and lists models.
   *
   * @return the models of the service
   */
  public Models models() {
    return models;
  }

  /**
   * Runs a request and waits for its answer.
   *
   * @param request the request
   * @return the answer
   */
  public InferResult infer(Request request) {
    var method = InferenceServiceGrpc.getInferMethod();
    return new InferResult(calls.unary(method, message(request), deadline(request)));
  }

  /**
   * Runs items and waits for their outputs.
   *
   * @param model id of a loaded model
   * @param items what to run, at least one; see {@link Inputs}
   * @return the answer
   */
  public InferResult infer(String model, Item... items) {
    return infer(Request.of(model, items));
  }

  /**
   * Makes vectors of texts with a model of the task "feature-extraction".
   *
   * @param model id of a loaded model
   * @param texts the texts, as many as the service takes in one request
   * @return a vector for each text
   */
  public List<float[]> embed(String model, List<String> texts) {
    List<float[]> vectors = new ArrayList<>(texts.size());
    for (Output output : infer(Request.builder(model).texts(texts).build())) {
      vectors.add(output.embedding());
    }
    return vectors;
  }

  /**
   * Runs a request.
   *
   * @param request the request
   * @return the answer; cancelling this very future cancels the call, and what has not run yet is dropped
   */
  public CompletableFuture<InferResult> inferAsync(Request request) {
    var answer = calls.unaryAsync(InferenceServiceGrpc.getInferMethod(), message(request), deadline(request));
    CompletableFuture<InferResult> result = new CompletableFuture<>();
    answer.whenComplete(
        (response, error) -> {
          if (error == null) {
            result.complete(new InferResult(response));
          } else {
            result.completeExceptionally(error);
          }
        });
    // Cancelling does not go up a chain of futures by itself.
    result.whenComplete((value, error) -> answer.cancel(false));
    return result;
  }

  /**
   * Runs a request and lets its caller read what the items come to.
   *
   * @param request the request
   * @return the steps and the answer, to be read to the end or closed
   */
  public PartialStream generate(Request request) {
    GenerateRequest message = GenerateRequest.newBuilder().setRequest(message(request)).build();
    var method = InferenceServiceGrpc.getGenerateMethod();
    return new PartialStream(new ServerStream<>(calls, method, message, deadline(request)));
  }

  /**
   * Runs a request, tells what the items come to, and waits for the answer.
   *
   * @param request the request
   * @param partials gets each step, on the caller's thread; what it throws stops the run and is thrown on
   * @return the answer
   */
  public InferResult generate(Request request, Consumer<? super Partial> partials) {
    try (PartialStream steps = generate(request)) {
      steps.forEachRemaining(partials);
      return steps.result();
    }
  }

  /**
   * Runs a request and tells what the items come to.
   *
   * @param request the request
   * @param partials gets each step, one after another, on gRPC's threads; what it throws stops the run and ends the
   *     future
   * @return the answer; cancelling this very future stops the run at its next token
   */
  public CompletableFuture<InferResult> generateAsync(Request request, Consumer<? super Partial> partials) {
    GenerateRequest message = GenerateRequest.newBuilder().setRequest(message(request)).build();
    ClientCall<GenerateRequest, GenerateResponse> call =
        calls.prepare(InferenceServiceGrpc.getGenerateMethod(), deadline(request));
    CompletableFuture<InferResult> result = Calls.cancelling(call);
    ClientCalls.asyncServerStreamingCall(
        call,
        message,
        new StreamObserver<>() {
          private InferResult answer;

          @Override
          public void onNext(GenerateResponse response) {
            if (response.hasResponse()) {
              answer = new InferResult(response.getResponse());
            } else if (response.hasPartial() && !result.isDone()) {
              try {
                partials.accept(response.getPartial());
              } catch (RuntimeException e) {
                result.completeExceptionally(e);
              }
            }
          }

          @Override
          public void onError(Throwable thrown) {
            result.completeExceptionally(calls.failure(thrown));
          }

          @Override
          public void onCompleted() {
            if (answer == null) {
              onError(Status.INTERNAL.withDescription("the stream ended without an answer").asException());
            } else {
              result.complete(answer);
            }
          }
        });
    return result;
  }

  /**
   * Opens a stream for many requests. It has no deadline; the service bounds each request by its own default.
   *
   * @return the stream
   */
  public RequestStream openStream() {
    return new RequestStream(calls, priority, null);
  }

  /**
   * Opens a stream for many requests that ends at a time.
   *
   * @param deadline time for the stream and all its requests, above zero
   * @return the stream
   */
  public RequestStream openStream(Duration deadline) {
    return new RequestStream(calls, priority, Calls.positive(deadline, "deadline"));
  }

  /**
   * Returns the channel, for the stubs of {@code dev.webinfer.v1}: the pool, the capabilities, and what else gRPC can.
   * Its errors are gRPC's own, its calls have no deadline, and it is closed with the client.
   *
   * @return the channel
   */
  public Channel channel() {
    return channel;
  }

  /** Ends the connection. Calls that are under way fail with {@link WebinferException.Cancelled}. */
  @Override
  public void close() {
    channel.shutdownNow();
    try {
      // What is cancelled ends soon; waiting lets it tell its callers before the program goes on.
      channel.awaitTermination(CLOSING.toMillis(), TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** The request with a priority, unless it says one itself. */
  static InferRequest withPriority(InferRequest request, Priority priority) {
    if (priority == Priority.PRIORITY_UNSPECIFIED || request.getPriorityValue() != 0) {
      return request;
    }
    return request.toBuilder().setPriority(priority).build();
  }

  private InferRequest message(Request request) {
    return withPriority(request.raw(), priority);
  }

  private Duration deadline(Request request) {
    return request.deadline().orElse(deadline);
  }
}
