package dev.webinfer;

import dev.webinfer.v1.InferRequest;
import dev.webinfer.v1.InferStreamRequest;
import dev.webinfer.v1.InferStreamResponse;
import dev.webinfer.v1.InferenceServiceGrpc;
import dev.webinfer.v1.Partial;
import dev.webinfer.v1.Priority;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;

/**
 * Many requests on one stream. Each is answered as it finishes, in no order; one that fails leaves the others alone.
 * Thread-safe.
 *
 * <p>The service reads a stream only as fast as it can work, and {@link #send} waits with it, and while 64 requests
 * have no answer. A request that is refused for now is sent again when the service says.
 */
public final class RequestStream implements AutoCloseable {
  /** How often a sender that waits looks for itself, in milliseconds; a signal comes earlier. */
  private static final long LOOK = 50;

  /** Requests that wait for their answers at most. */
  private static final int IN_FLIGHT = 64;

  private record Pending(
      InferStreamRequest message,
      int attempt,
      CompletableFuture<InferResult> future,
      Consumer<? super Partial> partials) {}

  private final Calls calls;
  private final Priority priority;
  private final ClientCall<InferStreamRequest, InferStreamResponse> call;
  private final Map<String, Pending> pending = new ConcurrentHashMap<>();
  private final AtomicLong numbers = new AtomicLong();
  private final CompletableFuture<Void> ended = new CompletableFuture<>();
  /** Guards the sending side, which gRPC wants for one thread at a time. */
  private final Object sending = new Object();

  private boolean finished;
  private boolean halfClosed;
  /** The thread that now tells of an answer: it must not wait, since it is the one that hears of readiness. */
  private volatile Thread teller;

  RequestStream(Calls calls, Priority priority, Duration deadline) {
    this.calls = calls;
    this.priority = priority;
    call = calls.prepare(InferenceServiceGrpc.getInferStreamMethod(), deadline);
    call.start(new Answers(), new Metadata());
    call.request(1);
  }

  /**
   * Sends a request under an id that this stream chooses. Waits for a place, and while the service takes no more.
   *
   * @param request the request; it must have no deadline of its own, since the stream's counts
   * @return the answer. Cancelling it drops the answer; the service is not told
   */
  public CompletableFuture<InferResult> send(Request request) {
    return send("#" + numbers.incrementAndGet(), request, null);
  }

  /**
   * Sends a request under an id that this stream chooses, and tells what its items come to.
   *
   * @param request the request; it must have no deadline of its own, since the stream's counts
   * @param partials gets each step before the answer, on one of gRPC's threads, and must not block it
   * @return the answer. Cancelling it drops the answer; the service is not told
   */
  public CompletableFuture<InferResult> send(Request request, Consumer<? super Partial> partials) {
    return send("#" + numbers.incrementAndGet(), request, Objects.requireNonNull(partials, "partials"));
  }

  /**
   * Sends a request under an id of the caller's.
   *
   * @param id 1 to 128 bytes, unlike those in flight on this stream
   * @param request the request; it must have no deadline of its own, since the stream's counts
   * @param partials gets each step before the answer, on one of gRPC's threads, and must not block it; null where none
   *     are wanted
   * @return the answer. Cancelling it drops the answer; the service is not told
   * @throws IllegalArgumentException where the id is in flight, or the request has a deadline
   * @throws IllegalStateException where {@link #finish} or {@link #close} was called
   */
  public CompletableFuture<InferResult> send(String id, Request request, Consumer<? super Partial> partials) {
    if (request.deadline().isPresent()) {
      throw new IllegalArgumentException("a request on a stream has the stream's deadline");
    }
    InferRequest raw = WebinferClient.withPriority(request.raw(), priority);
    CompletableFuture<InferResult> future = new CompletableFuture<>();
    synchronized (sending) {
      awaitReady();
      if (finished) {
        throw new IllegalStateException("the stream is finished");
      }
      InferStreamRequest.Builder builder = InferStreamRequest.newBuilder().setRequestId(id).setRequest(raw);
      InferStreamRequest message = builder.setPartials(partials != null).build();
      if (pending.putIfAbsent(id, new Pending(message, 1, future, partials)) != null) {
        throw new IllegalArgumentException("\"" + id + "\" is in flight on this stream");
      }
      if (ended.isDone()) {
        failAll();
      } else {
        call.sendMessage(message);
      }
    }
    return future;
  }

  /**
   * Sends no more. What is in flight is still answered.
   *
   * @return completes when all is answered, or with the error that ended the stream
   */
  public CompletableFuture<Void> finish() {
    synchronized (sending) {
      finished = true;
      sending.notifyAll();
      halfClose();
    }
    return ended.copy();
  }

  /** Ends the stream at once: what is not answered yet is cancelled, here and in the service. */
  @Override
  public void close() {
    synchronized (sending) {
      finished = true;
      halfClosed = true;
      sending.notifyAll();
      call.cancel("the caller has closed the stream", null);
    }
  }

  /** Ends the sending side, once all is answered: what is refused is sent again. */
  private void halfClose() {
    if (finished && !halfClosed && pending.isEmpty() && !ended.isDone()) {
      halfClosed = true;
      call.halfClose();
    }
  }

  /** Lets go of a request that is answered. Its place is another's. */
  private void answered(String id) {
    synchronized (sending) {
      pending.remove(id);
      sending.notifyAll();
      halfClose();
    }
  }

  private void sendAgain(String id, Pending request) {
    synchronized (sending) {
      if (!halfClosed && !ended.isDone() && pending.containsKey(id)) {
        pending.put(id, request);
        call.sendMessage(request.message);
      }
    }
  }

  /** Waits until there is a place and gRPC's buffer has room, or the stream has ended. */
  private void awaitReady() {
    while ((!call.isReady() || pending.size() >= IN_FLIGHT)
        && !ended.isDone()
        && !finished
        && Thread.currentThread() != teller) {
      try {
        sending.wait(LOOK);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw WebinferException.of(Status.Code.CANCELLED, "the thread was interrupted", e);
      }
    }
  }

  private void failAll() {
    ended.whenComplete(
        (none, error) -> {
          WebinferException failure =
              error instanceof WebinferException exception
                  ? exception
                  : WebinferException.of(Status.Code.UNAVAILABLE, "the stream ended without an answer", null);
          for (String id : pending.keySet()) {
            Pending request = pending.remove(id);
            if (request != null) {
              request.future.completeExceptionally(failure);
            }
          }
        });
  }

  private final class Answers extends ClientCall.Listener<InferStreamResponse> {
    @Override
    public void onReady() {
      synchronized (sending) {
        sending.notifyAll();
      }
    }

    @Override
    public void onMessage(InferStreamResponse response) {
      teller = Thread.currentThread();
      try {
        tell(response);
      } finally {
        teller = null;
        call.request(1);
      }
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      if (status.isOk()) {
        ended.complete(null);
      } else {
        ended.completeExceptionally(calls.failure(status.asRuntimeException(trailers)));
      }
      synchronized (sending) {
        sending.notifyAll();
      }
      failAll();
    }

    private void tell(InferStreamResponse response) {
      String id = response.getRequestId();
      if (response.hasPartial()) {
        Pending request = pending.get(id);
        if (request != null && request.partials != null && !request.future.isDone()) {
          try {
            request.partials.accept(response.getPartial());
          } catch (RuntimeException e) {
            // One request's callback is no reason to end the others. The id stays taken until the service is done.
            request.future.completeExceptionally(e);
          }
        }
        return;
      }
      Pending request = pending.get(id);
      if (request == null) {
        return;
      }
      if (response.hasResponse()) {
        answered(id);
        request.future.complete(new InferResult(response.getResponse()));
        return;
      }
      WebinferException error = WebinferException.of(response.getError(), null);
      if (isTriedAgain(request, error)) {
        var again = new Pending(request.message, request.attempt + 1, request.future, request.partials);
        long delay = error.retryAfter().orElseThrow().toNanos();
        CompletableFuture.delayedExecutor(delay, TimeUnit.NANOSECONDS).execute(() -> sendAgain(id, again));
      } else {
        answered(id);
        request.future.completeExceptionally(error);
      }
    }

    private boolean isTriedAgain(Pending request, WebinferException error) {
      boolean refused = error.code() == Status.Code.RESOURCE_EXHAUSTED || error.code() == Status.Code.UNAVAILABLE;
      return refused
          && error.retryAfter().isPresent()
          && request.attempt < calls.maxAttempts()
          && !request.future.isDone();
    }
  }
}
