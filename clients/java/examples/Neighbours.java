import dev.webinfer.Inputs;
import dev.webinfer.WebinferClient;
import dev.webinfer.WebinferException;
import dev.webinfer.v1.Execution;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Embeds a file of sentences, one a line, with a model that runs in a browser, and prints what is nearest to each.
 *
 * <p>Arguments: the file, the service's address (localhost:50051), the model (all-MiniLM-L6-v2).
 */
public final class Neighbours {
  private static final int BATCH = 256;
  private static final int NEAREST = 3;

  private Neighbours() {}

  /** Runs the example. */
  public static void main(String[] arguments) throws IOException {
    if (arguments.length == 0) {
      System.err.println("usage: Neighbours FILE [ADDRESS] [MODEL]");
      System.exit(2);
    }
    String address = arguments.length > 1 ? arguments[1] : "localhost:50051";
    String model = arguments.length > 2 ? arguments[2] : "all-MiniLM-L6-v2";
    List<String> sentences =
        Files.readAllLines(Path.of(arguments[0])).stream().filter(line -> !line.isBlank()).toList();
    try (var client = WebinferClient.connect(address)) {
      client.models().load(model, step -> System.err.printf("%s, %d ms%n", step.getPhase(), step.getElapsedMs()));
      List<float[]> vectors = new ArrayList<>();
      // A request has a limit of items, and an answer one of bytes.
      for (int from = 0; from < sentences.size(); from += BATCH) {
        vectors.addAll(client.embed(model, sentences.subList(from, Math.min(from + BATCH, sentences.size()))));
      }
      print(sentences, vectors);
      Execution execution = client.infer(model, Inputs.text(sentences.get(0))).only().execution();
      System.out.println("ran on " + execution.getBrowser() + " " + execution.getBrowserVersion());
    } catch (WebinferException e) {
      System.err.println(e.getMessage());
      System.exit(1);
    }
  }

  private static void print(List<String> sentences, List<float[]> vectors) {
    for (int i = 0; i < sentences.size(); i++) {
      int self = i;
      System.out.println(sentences.get(i));
      IntStream.range(0, sentences.size())
          .filter(other -> other != self)
          .boxed()
          .sorted(Comparator.comparingDouble(other -> -dot(vectors.get(self), vectors.get(other))))
          .limit(NEAREST)
          .forEach(other ->
              System.out.printf("  %6.3f  %s%n", dot(vectors.get(self), vectors.get(other)), sentences.get(other)));
    }
  }

  /** The cosine, because the service scales its vectors to unit length. */
  private static double dot(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += (double) a[i] * b[i];
    }
    return sum;
  }
}
