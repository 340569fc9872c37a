package dev.webinfer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.webinfer.v1.Priority;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class InferTest {
  private static final Request REQUEST = Request.of("m", Inputs.text("abc"));
  private final FakeService service = new FakeService();
  private WebinferClient client;

  @BeforeEach
  void start() throws Exception {
    client = service.startInProcess();
  }

  @AfterEach
  void stop() throws Exception {
    client.close();
    service.close();
  }

  @Test
  void answersItemsInTheirOrder() {
    InferResult result = client.infer("m", Inputs.text("a"), Inputs.text("abc"));
    assertEquals(2, result.size());
    assertArrayEquals(new float[] {3, 1}, result.get(1).embedding());
    assertEquals("Fake", result.get(1).execution().getBrowser());
    assertEquals(2, result.outputs().size());
    assertThrows(IllegalStateException.class, result::only);
    assertThrows(IllegalStateException.class, () -> result.get(0).classes());
    assertEquals(2, client.embed("m", List.of("a", "b")).size());
  }

  @Test
  void sendsDeadlineAndUserAgent() {
    client.infer(REQUEST);
    assertTrue(service.hasDeadline);
    assertEquals(Priority.PRIORITY_UNSPECIFIED, service.request.getPriority());
  }

  @Test
  void sendsNameAndPriority() throws Exception {
    String name = InProcessServerBuilder.generateName();
    try (FakeService other = new FakeService()) {
      other.start(InProcessServerBuilder.forName(name));
      ClientBuilder builder = WebinferClient.builder(InProcessChannelBuilder.forName(name));
      try (var named = builder.clientName("batch job").priority(Priority.PRIORITY_LOW).build()) {
        named.infer(REQUEST);
        var key = Metadata.Key.of("webinfer-client", Metadata.ASCII_STRING_MARSHALLER);
        assertEquals("batch job", other.headers.get(key));
        assertEquals(Priority.PRIORITY_LOW, other.request.getPriority());
        named.infer(Request.builder("m").text("x").priority(Priority.PRIORITY_HIGH).build());
        assertEquals(Priority.PRIORITY_HIGH, other.request.getPriority());
      }
    }
  }

  @Test
  void tellsWhatTheServiceSaysOfAnError() {
    service.infer =
        (request, answer) ->
            answer.onError(FakeService.error(Status.Code.INVALID_ARGUMENT, "INVALID_FIELD", "items", -1));
    var error = assertThrows(WebinferException.InvalidInput.class, () -> client.infer(REQUEST));
    assertEquals(Status.Code.INVALID_ARGUMENT, error.code());
    assertEquals("INVALID_FIELD", error.reason());
    assertEquals(List.of(new WebinferException.FieldViolation("items", "must be given")), error.fields());
    assertTrue(error.retryAfter().isEmpty());
    assertEquals("INVALID_ARGUMENT: why", error.getMessage());
  }

  @Test
  void hasAClassForEachKindOfError() {
    service.infer = (request, answer) -> {
      Status.Code code = Status.Code.valueOf(request.getModel());
      answer.onError(FakeService.error(code, "R", null, 250));
    };
    var classes = Map.of(
        "NOT_FOUND", WebinferException.NotFound.class,
        "INVALID_ARGUMENT", WebinferException.InvalidInput.class,
        "OUT_OF_RANGE", WebinferException.InvalidInput.class,
        "RESOURCE_EXHAUSTED", WebinferException.Overloaded.class,
        "DEADLINE_EXCEEDED", WebinferException.DeadlineExceeded.class,
        "CANCELLED", WebinferException.Cancelled.class,
        "UNAVAILABLE", WebinferException.Unavailable.class,
        "FAILED_PRECONDITION", WebinferException.class);
    classes.forEach((code, type) -> {
      var error = assertThrows(WebinferException.class, () -> client.infer(code, Inputs.text("x")));
      assertEquals(type, error.getClass(), code);
      assertEquals("R", error.reason());
      assertEquals(Duration.ofMillis(250), error.retryAfter().orElseThrow());
    });
  }

  @Test
  void endsAtItsDeadline() {
    service.infer = (request, answer) -> {};
    Request late = REQUEST.withDeadline(Duration.ofMillis(50));
    assertThrows(WebinferException.DeadlineExceeded.class, () -> client.infer(late));
    var error = assertThrows(CompletionException.class, () -> client.inferAsync(late).join());
    assertInstanceOf(WebinferException.DeadlineExceeded.class, error.getCause());
    assertThrows(IllegalArgumentException.class, () -> REQUEST.withDeadline(Duration.ZERO));
  }

  @Test
  void cancellingTheFutureCancelsTheCall() throws Exception {
    service.infer = (request, answer) -> {};
    CompletableFuture<InferResult> answer = client.inferAsync(REQUEST);
    assertTrue(FakeService.within(service.arrived));
    answer.cancel(true);
    assertTrue(FakeService.within(service.cancelled));
    assertThrows(CancellationException.class, answer::join);
  }

  @Test
  void aFutureWhoseTimeIsOverCancelsTheCall() throws Exception {
    service.infer = (request, answer) -> {};
    client.inferAsync(REQUEST).orTimeout(50, TimeUnit.MILLISECONDS);
    assertTrue(FakeService.within(service.cancelled));
  }

  @Test
  void anInterruptedThreadCancelsTheCall() throws Exception {
    service.infer = (request, answer) -> {};
    var thrown = new CompletableFuture<Throwable>();
    Thread thread = new Thread(() -> {
      try {
        client.infer(REQUEST);
        thrown.complete(null);
      } catch (RuntimeException e) {
        thrown.complete(e);
      }
    });
    thread.start();
    assertTrue(FakeService.within(service.arrived));
    thread.interrupt();
    assertInstanceOf(WebinferException.Cancelled.class, thrown.get(FakeService.PATIENCE, TimeUnit.SECONDS));
    assertTrue(FakeService.within(service.cancelled));
  }

  @Test
  void closingEndsWhatIsUnderWayAndRefusesMore() throws Exception {
    service.infer = (request, answer) -> {};
    CompletableFuture<InferResult> answer = client.inferAsync(REQUEST);
    assertTrue(FakeService.within(service.arrived));
    client.close();
    var error = assertThrows(CompletionException.class, answer::join);
    assertInstanceOf(WebinferException.Cancelled.class, error.getCause());
    assertThrows(IllegalStateException.class, () -> client.infer(REQUEST));
    assertThrows(IllegalStateException.class, () -> client.inferAsync(REQUEST));
    assertThrows(IllegalStateException.class, () -> client.generate(REQUEST));
    assertThrows(IllegalStateException.class, client::openStream);
    assertThrows(IllegalStateException.class, () -> client.models().list());
    client.close();
  }

  @Test
  void manyThreadsShareIt() {
    List<CompletableFuture<InferResult>> answers = new ArrayList<>();
    for (int i = 0; i < 200; i++) {
      String text = "x".repeat(i);
      answers.add(CompletableFuture.supplyAsync(() -> client.infer("m", Inputs.text(text))));
    }
    for (int i = 0; i < answers.size(); i++) {
      assertEquals(i, answers.get(i).join().only().embedding()[0]);
    }
  }
}
