package dev.webinfer.bench;

import dev.webinfer.Inputs;
import dev.webinfer.Request;
import dev.webinfer.Tensors;
import dev.webinfer.WebinferClient;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.StringJoiner;

/**
 * Does what each line of standard input asks for, and answers with a line of JSON: times in microseconds.
 *
 * <p>{@code calls COUNT FLOATS}: round trips of a tensor of the model "identity", one after the other.
 */
public final class Bench {
  private Bench() {}

  /** Serves until standard input ends. */
  public static void main(String[] arguments) throws IOException {
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    try (var client = WebinferClient.connect(System.getenv("WEBINFER_ADDRESS"))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        String[] words = line.split(" ");
        System.out.println(calls(client, Integer.parseInt(words[1]), Integer.parseInt(words[2])));
      }
    }
  }

  private static String calls(WebinferClient client, int count, int floats) {
    float[] data = new float[floats];
    Arrays.fill(data, 1);
    StringJoiner times = new StringJoiner(",", "[", "]");
    for (int call = 0; call < count; call++) {
      long begun = System.nanoTime();
      Request request = Request.of("identity", Inputs.tensor("x", Tensors.of(data, floats)));
      if (Tensors.floats(client.infer(request).only().tensor("y")).remaining() != floats) {
        throw new IllegalStateException("the tensor has another length");
      }
      times.add(Double.toString((System.nanoTime() - begun) / 1000.0));
    }
    return times.toString();
  }
}
