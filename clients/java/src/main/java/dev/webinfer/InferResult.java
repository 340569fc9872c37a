package dev.webinfer;

import dev.webinfer.v1.Execution;
import dev.webinfer.v1.InferResponse;
import java.util.AbstractList;
import java.util.Iterator;
import java.util.List;

/** The answer to a request: an output for each item, in the order of the items, and the record of what ran. */
public final class InferResult implements Iterable<Output> {
  private final InferResponse raw;

  InferResult(InferResponse raw) {
    this.raw = raw;
  }

  /**
   * Returns how many outputs there are: one for each item.
   *
   * @return the number
   */
  public int size() {
    return raw.getResultsCount();
  }

  /**
   * Returns the output of one item.
   *
   * @param item the item's index in the request
   * @return its output
   * @throws IndexOutOfBoundsException where the request had no such item
   */
  public Output get(int item) {
    return new Output(raw, raw.getResults(item));
  }

  /**
   * Returns the output of a request with one item.
   *
   * @return the output
   * @throws IllegalStateException where there is not just one
   */
  public Output only() {
    if (size() != 1) {
      throw new IllegalStateException("there are " + size() + " outputs");
    }
    return get(0);
  }

  /**
   * Returns all outputs.
   *
   * @return an unmodifiable view, in the order of the items
   */
  public List<Output> outputs() {
    return new AbstractList<>() {
      @Override
      public Output get(int index) {
        return InferResult.this.get(index);
      }

      @Override
      public int size() {
        return InferResult.this.size();
      }
    };
  }

  @Override
  public Iterator<Output> iterator() {
    return outputs().iterator();
  }

  /**
   * Returns what ran, one record for each batch that took part; {@link Output#execution()} has that of one item.
   *
   * @return the records
   */
  public List<Execution> executions() {
    return raw.getExecutionsList();
  }

  /**
   * Tells whether any output is a placeholder because nothing ran. It can be only where the model's registration allows
   * it.
   *
   * @return whether one is
   */
  public boolean simulated() {
    return executions().stream().anyMatch(Execution::getSimulated);
  }

  /**
   * Returns the message as it came.
   *
   * @return the message
   */
  public InferResponse raw() {
    return raw;
  }

  @Override
  public String toString() {
    return raw.toString();
  }
}
