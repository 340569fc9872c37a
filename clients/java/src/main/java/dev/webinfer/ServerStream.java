package dev.webinfer;

import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** A call whose answers are read on the caller's thread. The next one is asked for only when one was taken. */
final class ServerStream<Q, A> {
  private final Calls calls;
  private final ClientCall<Q, A> call;
  /** Holds one answer at most, and the end. */
  private final BlockingQueue<Object> events = new LinkedBlockingQueue<>();

  private WebinferException failure;
  private boolean ended;

  private record End(Status status, Metadata trailers) {}

  ServerStream(Calls calls, MethodDescriptor<Q, A> method, Q request, Duration deadline) {
    this.calls = calls;
    call = calls.prepare(method, deadline);
    call.start(
        new ClientCall.Listener<>() {
          @Override
          public void onMessage(A message) {
            events.add(message);
          }

          @Override
          public void onClose(Status status, Metadata trailers) {
            events.add(new End(status, trailers));
          }
        },
        new Metadata());
    call.request(1);
    call.sendMessage(request);
    call.halfClose();
  }

  /** Waits for the next answer. Returns null at the end, and throws again where the call has failed. */
  @SuppressWarnings("unchecked")
  A next() {
    if (failure != null) {
      throw failure;
    }
    if (ended) {
      return null;
    }
    Object event = take();
    if (!(event instanceof End end)) {
      call.request(1);
      return (A) event;
    }
    ended = true;
    if (!end.status.isOk()) {
      failure = calls.failure(end.status.asRuntimeException(end.trailers));
      throw failure;
    }
    return null;
  }

  /** Ends the call. Does nothing where it has ended. */
  void cancel() {
    call.cancel("the caller has read enough", null);
  }

  private Object take() {
    try {
      return events.take();
    } catch (InterruptedException e) {
      cancel();
      Thread.currentThread().interrupt();
      failure = WebinferException.of(Status.Code.CANCELLED, "the thread was interrupted", e);
      throw failure;
    }
  }
}
