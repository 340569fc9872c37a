package dev.webinfer.conformance;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import dev.webinfer.InferResult;
import dev.webinfer.PartialStream;
import dev.webinfer.Request;
import dev.webinfer.RequestStream;
import dev.webinfer.WebinferClient;
import dev.webinfer.WebinferException;
import dev.webinfer.conformance.Expectation.Outcome;
import dev.webinfer.v1.InferRequest;
import dev.webinfer.v1.InferResponse;
import dev.webinfer.v1.ModelSpec;
import dev.webinfer.v1.Partial;
import io.grpc.Status;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Runs the conformance cases through this client against a real service, and writes a line of JSON for each. Arguments:
 * the path of cases.json, and a part of a case's name where not all are to run.
 */
public final class Conformance {
  private final WebinferClient client;

  private Conformance(WebinferClient client) {
    this.client = client;
  }

  /** Ends with 0 where all cases are ok. */
  public static void main(String[] arguments) throws IOException {
    String address = System.getenv("WEBINFER_ADDRESS");
    if (arguments.length < 1 || address == null) {
      System.err.println("usage: WEBINFER_ADDRESS=HOST:PORT conformance CASES.JSON [NAME]");
      System.exit(2);
    }
    Path path = Path.of(arguments[0]).toAbsolutePath();
    Path media = path.resolveSibling("../../tests/media").normalize();
    JsonObject file = JsonParser.parseString(Files.readString(path)).getAsJsonObject();
    boolean ok = true;
    try (WebinferClient client = WebinferClient.connect(address)) {
      List<String> models = load(client, file);
      for (JsonElement element : file.getAsJsonArray("cases")) {
        Case one = new Case(element.getAsJsonObject(), media);
        if (arguments.length > 1 && !one.name().contains(arguments[1])) {
          continue;
        }
        String why = new Conformance(client).run(one);
        JsonObject line = new JsonObject();
        line.addProperty("name", one.name());
        line.addProperty("ok", why.isEmpty());
        if (!why.isEmpty()) {
          line.addProperty("why", why);
          ok = false;
        }
        System.out.println(line);
      }
      unregister(client, models);
    }
    System.exit(ok ? 0 : 1);
  }

  private static List<String> load(WebinferClient client, JsonObject file) {
    List<String> ids = new ArrayList<>();
    for (JsonElement element : file.getAsJsonArray("models")) {
      ModelSpec.Builder spec = ModelSpec.newBuilder();
      Case.merge(element, spec);
      spec.setId(Case.named(spec.getId()));
      ids.add(client.models().register(spec.build()).getSpec().getId());
      client.models().load(spec.getId());
    }
    return ids;
  }

  private static void unregister(WebinferClient client, List<String> ids) {
    for (String id : ids) {
      try {
        client.models().unregister(id);
      } catch (WebinferException.NotFound e) {
        // A restarted service has forgotten it already.
        continue;
      }
    }
  }

  private String run(Case one) {
    try {
      if (one.restart()) {
        restart();
      }
      return switch (one.call()) {
        case "infer" -> infer(one);
        case "generate" -> generate(one);
        case "stream" -> stream(one);
        default -> "no such call: " + one.call();
      };
    } catch (Exception e) {
      if (e instanceof InterruptedException) {
        Thread.currentThread().interrupt();
      }
      return e.toString();
    }
  }

  private static void restart() throws IOException, InterruptedException {
    String command = System.getenv("WEBINFER_RESTART");
    if (command == null) {
      throw new IOException("WEBINFER_RESTART is not set");
    }
    Process process = new ProcessBuilder("sh", "-c", command).redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
    if (!process.waitFor(5, TimeUnit.MINUTES) || process.exitValue() != 0) {
      process.destroy();
      throw new IOException("WEBINFER_RESTART has failed");
    }
  }

  private String infer(Case one) throws Exception {
    Request request = Request.of(one.request()).withDeadline(one.deadline());
    Expectation expectation = new Expectation(one.expect());
    if (one.times() == 1 && one.cancelAfter().isEmpty()) {
      return expectation.check(request.raw(), outcome(() -> client.infer(request)));
    }
    List<CompletableFuture<InferResult>> answers = new ArrayList<>();
    for (int i = 0; i < one.times(); i++) {
      answers.add(client.inferAsync(request));
    }
    if (one.cancelAfter().equals("send")) {
      answers.forEach(answer -> answer.cancel(true));
    }
    return firstFault(answers, answer -> expectation.check(request.raw(), outcome(answer::join)));
  }

  private String generate(Case one) throws Exception {
    Request request = Request.of(one.request()).withDeadline(one.deadline());
    Expectation expectation = new Expectation(one.expect());
    List<Partial> partials = new ArrayList<>();
    try (PartialStream steps = client.generate(request)) {
      if (one.cancelAfter().equals("send")) {
        steps.close();
      }
      Outcome outcome =
          outcome(
              () -> {
                while (steps.hasNext()) {
                  partials.add(steps.next());
                  if (one.cancelAfter().equals("first")) {
                    steps.close();
                  }
                }
                return steps.result();
              });
      String why = expectation.check(request.raw(), outcome);
      return why.isEmpty() ? expectation.partials(partials, outcome.response()) : why;
    }
  }

  private String stream(Case one) throws Exception {
    Expectation expectation = new Expectation(one.expect());
    Map<String, InferRequest> requests = new LinkedHashMap<>();
    Map<String, CompletableFuture<InferResult>> answers = new LinkedHashMap<>();
    List<Partial> partials = Collections.synchronizedList(new ArrayList<>());
    CountDownLatch first = new CountDownLatch(1);
    try (RequestStream stream = client.openStream(one.deadline())) {
      for (var entry : one.requests().entrySet()) {
        boolean wanted = entry.getValue().partials();
        Request request = Request.of(entry.getValue().request());
        requests.put(entry.getKey(), request.raw());
        var answer =
            stream.send(
                entry.getKey(),
                request,
                wanted
                    ? partial -> {
                      partials.add(partial);
                      first.countDown();
                    }
                    : null);
        answer.whenComplete((result, error) -> first.countDown());
        answers.put(entry.getKey(), answer);
      }
      if (one.cancelAfter().equals("first")) {
        first.await(one.deadline().toMillis(), TimeUnit.MILLISECONDS);
      }
      if (!one.cancelAfter().isEmpty()) {
        stream.close();
      }
      var end = stream.finish();
      if (!expectation.wantsAnswers()) {
        Outcome outcome =
            outcome(
                () -> {
                  end.join();
                  return answers.values().iterator().next().join();
                });
        return expectation.check(requests.values().iterator().next(), outcome);
      }
      for (String id : one.expect().getAsJsonObject("answers").keySet()) {
        Outcome outcome = outcome(answers.get(id)::join);
        String why = expectation.of(id).check(requests.get(id), outcome);
        why = why.isEmpty() ? expectation.partials(partials, outcome.response()) : why;
        if (!why.isEmpty()) {
          return id + ": " + why;
        }
      }
      end.join();
      return "";
    }
  }

  private interface Check<T> {
    String of(T value) throws Exception;
  }

  private static <T> String firstFault(List<T> values, Check<T> check) throws Exception {
    for (T value : values) {
      String why = check.of(value);
      if (!why.isEmpty()) {
        return why;
      }
    }
    return "";
  }

  private static Outcome outcome(Callable<InferResult> call) throws Exception {
    try {
      InferResponse response = call.call().raw();
      return new Outcome(response, Status.Code.OK, null);
    } catch (WebinferException e) {
      return new Outcome(null, e.code(), e);
    } catch (CancellationException e) {
      // Java's own way to say of a future what gRPC says of a call.
      return new Outcome(null, Status.Code.CANCELLED, null);
    } catch (CompletionException e) {
      if (e.getCause() instanceof WebinferException cause) {
        return new Outcome(null, cause.code(), cause);
      }
      throw e;
    }
  }
}
