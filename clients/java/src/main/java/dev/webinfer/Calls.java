package dev.webinfer;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** One way to make each kind of call, with its deadline, its errors and the check that the client is open. */
final class Calls {
  /** Longer times are as good as none, and the clock's arithmetic holds. */
  static final Duration LONGEST = Duration.ofDays(365);

  private final ManagedChannel channel;
  private final int maxAttempts;

  Calls(ManagedChannel channel, int maxAttempts) {
    this.channel = channel;
    this.maxAttempts = maxAttempts;
  }

  /** Returns how often a request is sent that the service refuses for now. */
  int maxAttempts() {
    return maxAttempts;
  }

  /** Returns the duration, which must be above zero. */
  static Duration positive(Duration duration, String name) {
    Objects.requireNonNull(duration, name);
    if (duration.isZero() || duration.isNegative()) {
      throw new IllegalArgumentException(name + " must be above zero, not " + duration);
    }
    return duration;
  }

  void requireOpen() {
    if (channel.isShutdown()) {
      throw new IllegalStateException("the client is closed");
    }
  }

  /** Makes a call that is not started yet. A deadline of null is none. */
  <Q, A> ClientCall<Q, A> prepare(MethodDescriptor<Q, A> method, Duration deadline) {
    requireOpen();
    return channel.newCall(method, options(deadline));
  }

  /** Makes a call with one request and one answer, and waits on the caller's thread. */
  <Q, A> A unary(MethodDescriptor<Q, A> method, Q request, Duration deadline) {
    requireOpen();
    try {
      return ClientCalls.blockingUnaryCall(channel, method, options(deadline), request);
    } catch (StatusRuntimeException e) {
      throw failure(e);
    }
  }

  /** Makes a call with one request and one answer. Cancelling the future cancels the call. */
  <Q, A> CompletableFuture<A> unaryAsync(MethodDescriptor<Q, A> method, Q request, Duration deadline) {
    ClientCall<Q, A> call = prepare(method, deadline);
    CompletableFuture<A> future = cancelling(call);
    ClientCalls.asyncUnaryCall(
        call,
        request,
        new StreamObserver<A>() {
          private A answer;

          @Override
          public void onNext(A value) {
            answer = value;
          }

          @Override
          public void onError(Throwable thrown) {
            future.completeExceptionally(failure(thrown));
          }

          @Override
          public void onCompleted() {
            future.complete(answer);
          }
        });
    return future;
  }

  /** Makes a future whose failure, be it that somebody cancelled it or that its time was over, ends the call. */
  static <T> CompletableFuture<T> cancelling(ClientCall<?, ?> call) {
    CompletableFuture<T> future = new CompletableFuture<>();
    future.whenComplete(
        (value, error) -> {
          if (error != null) {
            // Does nothing where the call itself has failed.
            call.cancel("nobody waits for the answer", error);
          }
        });
    return future;
  }

  /** Makes the exception of what gRPC threw. */
  WebinferException failure(Throwable thrown) {
    boolean severed =
        (thrown instanceof StatusRuntimeException runtime && runtime.getStatus().getCode() == Status.Code.UNAVAILABLE)
            || (thrown instanceof StatusException checked
                && checked.getStatus().getCode() == Status.Code.UNAVAILABLE);
    // gRPC calls it UNAVAILABLE, as if the service were gone.
    if (severed && channel.isShutdown()) {
      return WebinferException.of(Status.Code.CANCELLED, "the client was closed", thrown);
    }
    WebinferException told = WebinferException.of(thrown);
    if (!told.reason().isEmpty()) {
      return told;
    }
    // gRPC itself says no more than "io exception".
    return switch (told.code()) {
      case UNAVAILABLE -> WebinferException.of(
          told.code(),
          "no service answers at " + channel.authority() + "; does `webinfer serve` run there? " + why(thrown),
          thrown);
      case DEADLINE_EXCEEDED -> WebinferException.of(
          told.code(), "no answer came from " + channel.authority() + " in time", thrown);
      default -> told;
    };
  }

  private static String why(Throwable thrown) {
    Status status = Status.fromThrowable(thrown);
    Throwable root = status.getCause();
    if (root == null) {
      return status.getDescription();
    }
    while (root.getCause() != null) {
      root = root.getCause();
    }
    return root.getMessage();
  }

  private static CallOptions options(Duration deadline) {
    if (deadline == null) {
      return CallOptions.DEFAULT;
    }
    Duration within = deadline.compareTo(LONGEST) < 0 ? deadline : LONGEST;
    return CallOptions.DEFAULT.withDeadlineAfter(within.toNanos(), TimeUnit.NANOSECONDS);
  }
}
