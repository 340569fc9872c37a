package dev.webinfer;

import com.google.protobuf.Any;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.webinfer.v1.Embedding;
import dev.webinfer.v1.Execution;
import dev.webinfer.v1.GenerateRequest;
import dev.webinfer.v1.GenerateResponse;
import dev.webinfer.v1.Generated;
import dev.webinfer.v1.InferRequest;
import dev.webinfer.v1.InferResponse;
import dev.webinfer.v1.InferStreamRequest;
import dev.webinfer.v1.InferStreamResponse;
import dev.webinfer.v1.InferenceServiceGrpc;
import dev.webinfer.v1.ItemResult;
import dev.webinfer.v1.Partial;
import io.grpc.BindableService;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerBuilder;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiConsumer;
import java.util.function.Function;

/** A service in this process, whose answers a test chooses. */
final class FakeService extends InferenceServiceGrpc.InferenceServiceImplBase implements AutoCloseable {
  static final long PATIENCE = 10;
  private static final Metadata.Key<String> PUSHBACK =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);

  /** Answers Infer; what it leaves open stays open. */
  BiConsumer<InferRequest, StreamObserver<InferResponse>> infer = (request, answer) -> reply(answer, answer(request));

  /** Answers Generate. */
  BiConsumer<InferRequest, StreamObserver<GenerateResponse>> generate = FakeService::generateWords;

  /** Answers InferStream. */
  Function<StreamObserver<InferStreamResponse>, StreamObserver<InferStreamRequest>> stream = answers -> null;

  final AtomicInteger attempts = new AtomicInteger();
  final CountDownLatch arrived = new CountDownLatch(1);
  final CountDownLatch cancelled = new CountDownLatch(1);
  volatile Metadata headers = new Metadata();
  volatile InferRequest request;
  volatile boolean hasDeadline;
  private Server server;

  /** Serves without a network, to a client that tries once. */
  WebinferClient startInProcess(BindableService... more) throws IOException {
    String name = InProcessServerBuilder.generateName();
    start(InProcessServerBuilder.forName(name), more);
    return WebinferClient.builder(InProcessChannelBuilder.forName(name)).maxAttempts(1).build();
  }

  /** Serves on a port of loopback. */
  String startOnLoopback() throws IOException {
    start(NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0)).maxInboundMessageSize(64 << 20));
    return "127.0.0.1:" + server.getPort();
  }

  void start(ServerBuilder<?> builder, BindableService... more) throws IOException {
    for (BindableService service : more) {
      builder.addService(service);
    }
    server = builder.addService(this).intercept(new Notes()).build().start();
  }

  @Override
  public void close() throws InterruptedException {
    server.shutdownNow().awaitTermination(PATIENCE, TimeUnit.SECONDS);
  }

  @Override
  public void infer(InferRequest request, StreamObserver<InferResponse> answer) {
    note(request, answer);
    infer.accept(request, answer);
  }

  @Override
  public void generate(GenerateRequest request, StreamObserver<GenerateResponse> answers) {
    note(request.getRequest(), answers);
    generate.accept(request.getRequest(), answers);
  }

  @Override
  public StreamObserver<InferStreamRequest> inferStream(StreamObserver<InferStreamResponse> answers) {
    ((ServerCallStreamObserver<?>) answers).setOnCancelHandler(cancelled::countDown);
    return stream.apply(answers);
  }

  private void note(InferRequest request, StreamObserver<?> answers) {
    this.request = request;
    hasDeadline = Context.current().getDeadline() != null;
    ((ServerCallStreamObserver<?>) answers).setOnCancelHandler(cancelled::countDown);
    attempts.incrementAndGet();
    arrived.countDown();
  }

  /** Waits for what must come. */
  static boolean within(CountDownLatch latch) throws InterruptedException {
    return latch.await(PATIENCE, TimeUnit.SECONDS);
  }

  /** A vector for each item: its length and 1. */
  static InferResponse answer(InferRequest request) {
    InferResponse.Builder response = InferResponse.newBuilder();
    request.getItemsList().forEach(
        item -> response.addResults(ItemResult.newBuilder()
            .setEmbedding(Embedding.newBuilder().addValues(item.getText().length()).addValues(1))));
    return response.addExecutions(Execution.newBuilder().setBrowser("Fake")).build();
  }

  static InferResponse text(String text) {
    return InferResponse.newBuilder()
        .addResults(ItemResult.newBuilder().setGenerated(Generated.newBuilder().setText(text)))
        .addExecutions(Execution.newBuilder().setBrowser("Fake"))
        .build();
  }

  static GenerateResponse partial(String text) {
    return GenerateResponse.newBuilder().setPartial(Partial.newBuilder().setText(text)).build();
  }

  static <T> void reply(StreamObserver<T> answers, T answer) {
    answers.onNext(answer);
    answers.onCompleted();
  }

  private static void generateWords(InferRequest request, StreamObserver<GenerateResponse> answers) {
    answers.onNext(partial("one "));
    answers.onNext(partial("two "));
    answers.onNext(partial("three"));
    reply(answers, GenerateResponse.newBuilder().setResponse(text("one two three")).build());
  }

  /** A status with details, as the service makes them. */
  static com.google.rpc.Status status(Status.Code code, String reason, String field, long retryMillis) {
    com.google.rpc.Status.Builder status = com.google.rpc.Status.newBuilder().setCode(code.value()).setMessage("why");
    status.addDetails(Any.pack(ErrorInfo.newBuilder().setDomain("webinfer").setReason(reason).build()));
    if (field != null) {
      var violation = BadRequest.FieldViolation.newBuilder().setField(field).setDescription("must be given");
      status.addDetails(Any.pack(BadRequest.newBuilder().addFieldViolations(violation).build()));
    }
    if (retryMillis >= 0) {
      var delay = com.google.protobuf.Duration.newBuilder().setNanos((int) retryMillis * 1_000_000);
      status.addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(delay).build()));
    }
    return status.build();
  }

  /** The same as gRPC sends it, with the trailer that steers retries. */
  static Exception error(Status.Code code, String reason, String field, long retryMillis) {
    Metadata trailers = new Metadata();
    if (retryMillis >= 0) {
      trailers.put(PUSHBACK, Long.toString(retryMillis));
    }
    return StatusProto.toStatusException(status(code, reason, field, retryMillis), trailers);
  }

  private final class Notes implements ServerInterceptor {
    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, A> call, Metadata received, ServerCallHandler<Q, A> next) {
      headers = received;
      return next.startCall(call, received);
    }
  }
}
