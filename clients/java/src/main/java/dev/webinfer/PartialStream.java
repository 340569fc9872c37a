package dev.webinfer;

import dev.webinfer.v1.GenerateRequest;
import dev.webinfer.v1.GenerateResponse;
import dev.webinfer.v1.InferResponse;
import dev.webinfer.v1.Partial;
import io.grpc.Status;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * What the items of one request come to, bit by bit, and the whole answer at the end.
 *
 * <p>While nothing is read the service is held back, so read it to its end or close it. Reading is for one thread at a
 * time; {@link #close} may come from any. Reading throws a {@link WebinferException} where the call has failed.
 */
public final class PartialStream implements Iterator<Partial>, AutoCloseable {
  private final ServerStream<GenerateRequest, GenerateResponse> responses;
  private Partial next;
  private InferResponse answer;

  PartialStream(ServerStream<GenerateRequest, GenerateResponse> responses) {
    this.responses = responses;
  }

  @Override
  public boolean hasNext() {
    while (next == null) {
      GenerateResponse response = responses.next();
      if (response == null) {
        return false;
      }
      if (response.hasPartial()) {
        next = response.getPartial();
      } else if (response.hasResponse()) {
        answer = response.getResponse();
      }
    }
    return true;
  }

  @Override
  public Partial next() {
    if (!hasNext()) {
      throw new NoSuchElementException("the stream has ended");
    }
    Partial partial = next;
    next = null;
    return partial;
  }

  /**
   * Returns the partials as a stream. Closing that closes this.
   *
   * @return a sequential stream of what was not read yet
   */
  public Stream<Partial> stream() {
    int properties = Spliterator.ORDERED | Spliterator.NONNULL;
    return StreamSupport.stream(Spliterators.spliteratorUnknownSize(this, properties), false).onClose(this::close);
  }

  /**
   * Returns the whole answer. Reads past the partials that were not read yet, and waits for it.
   *
   * @return the answer
   * @throws WebinferException where the call failed
   */
  public InferResult result() {
    while (hasNext()) {
      next = null;
    }
    if (answer == null) {
      throw WebinferException.of(Status.Code.INTERNAL, "the stream ended without an answer", null);
    }
    return new InferResult(answer);
  }

  /** Stops the run at its next token, unless all was read. Reading it afterwards is an error. */
  @Override
  public void close() {
    responses.cancel();
  }
}
