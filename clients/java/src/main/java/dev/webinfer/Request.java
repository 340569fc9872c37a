package dev.webinfer;

import dev.webinfer.v1.Generation;
import dev.webinfer.v1.InferRequest;
import dev.webinfer.v1.Item;
import dev.webinfer.v1.Parameters;
import dev.webinfer.v1.Priority;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Consumer;

/** What to run: a model, one or many items, and how. It does not change, and can be sent several times. */
public final class Request {
  private final InferRequest raw;
  private final Duration deadline;

  private Request(InferRequest raw, Duration deadline) {
    this.raw = raw;
    this.deadline = deadline;
  }

  /**
   * Makes a request of items.
   *
   * @param model id of a loaded model
   * @param items what to run, at least one; see {@link Inputs}
   * @return the request
   */
  public static Request of(String model, Item... items) {
    return of(model, List.of(items));
  }

  /**
   * Makes a request of items.
   *
   * @param model id of a loaded model
   * @param items what to run, at least one; see {@link Inputs}
   * @return the request
   */
  public static Request of(String model, List<Item> items) {
    return of(InferRequest.newBuilder().setModel(model).addAllItems(items).build());
  }

  /**
   * Makes a request of the message that is sent, which is not checked here.
   *
   * @param raw the message
   * @return the request
   */
  public static Request of(InferRequest raw) {
    return new Request(Objects.requireNonNull(raw, "raw"), null);
  }

  /**
   * Begins a request step by step.
   *
   * @param model id of a loaded model
   * @return a builder
   */
  public static Builder builder(String model) {
    return new Builder(model);
  }

  /**
   * Returns the same request with a deadline of its own.
   *
   * @param deadline time for the whole call, with all its retries, above zero
   * @return the request
   */
  public Request withDeadline(Duration deadline) {
    return new Request(raw, Calls.positive(deadline, "deadline"));
  }

  /**
   * Returns the request's own deadline.
   *
   * @return the deadline, empty where the client's counts
   */
  public Optional<Duration> deadline() {
    return Optional.ofNullable(deadline);
  }

  /**
   * Returns the message that is sent.
   *
   * @return the message
   */
  public InferRequest raw() {
    return raw;
  }

  /** Makes a {@link Request}. Not for several threads at once. */
  public static final class Builder {
    private final InferRequest.Builder raw = InferRequest.newBuilder();
    private Duration deadline;

    private Builder(String model) {
      raw.setModel(model);
    }

    /**
     * Adds an item for each text.
     *
     * @param texts the texts
     * @return this
     */
    public Builder text(String... texts) {
      return texts(List.of(texts));
    }

    /**
     * Adds an item for each text.
     *
     * @param texts the texts
     * @return this
     */
    public Builder texts(Iterable<String> texts) {
      for (String text : texts) {
        item(Inputs.text(text));
      }
      return this;
    }

    /**
     * Adds an item.
     *
     * @param item the item; see {@link Inputs}
     * @return this
     */
    public Builder item(Item item) {
      raw.addItems(item);
      return this;
    }

    /**
     * Sets how urgent it is. Default: what the client was told, or normal.
     *
     * @param priority how urgent
     * @return this
     */
    public Builder priority(Priority priority) {
      raw.setPriority(priority);
      return this;
    }

    /**
     * Changes the parameters of the task, such as {@code p -> p.setTopK(3)}. The service refuses one that the model's
     * task does not have.
     *
     * @param change gets what was set so far
     * @return this
     */
    public Builder parameters(Consumer<Parameters.Builder> change) {
      change.accept(raw.getParametersBuilder());
      return this;
    }

    /**
     * Changes how text is made, such as {@code g -> g.setMaxNewTokens(100)}.
     *
     * @param change gets what was set so far
     * @return this
     */
    public Builder generation(Consumer<Generation.Builder> change) {
      change.accept(raw.getParametersBuilder().getGenerationBuilder());
      return this;
    }

    /**
     * Sets a deadline for this request. Default: the client's.
     *
     * @param deadline time for the whole call, with all its retries, above zero
     * @return this
     */
    public Builder deadline(Duration deadline) {
      this.deadline = Calls.positive(deadline, "deadline");
      return this;
    }

    /**
     * Makes the request.
     *
     * @return the request
     */
    public Request build() {
      return new Request(raw.build(), deadline);
    }
  }
}
