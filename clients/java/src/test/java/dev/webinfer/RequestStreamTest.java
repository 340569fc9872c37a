package dev.webinfer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.webinfer.v1.InferStreamRequest;
import dev.webinfer.v1.InferStreamResponse;
import dev.webinfer.v1.Partial;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class RequestStreamTest {
  private final FakeService service = new FakeService();
  private final CountDownLatch arrived = new CountDownLatch(1);
  private final AtomicInteger arrivals = new AtomicInteger();
  private WebinferClient client;

  @BeforeEach
  void start() throws Exception {
    client = service.startInProcess();
    service.stream = answers -> new Echo(answers, false);
  }

  @AfterEach
  void stop() throws Exception {
    client.close();
    service.close();
  }

  private static Request request(String text) {
    return Request.of("m", Inputs.text(text));
  }

  /** Answers each request, at once or 50 in reversed order; "bad" fails, "busy" once does, "held" waits. */
  private class Echo implements StreamObserver<InferStreamRequest> {
    private final StreamObserver<InferStreamResponse> answers;
    private final boolean reversed;
    private final List<InferStreamRequest> kept = new ArrayList<>();

    Echo(StreamObserver<InferStreamResponse> answers, boolean reversed) {
      this.answers = answers;
      this.reversed = reversed;
    }

    @Override
    public void onNext(InferStreamRequest request) {
      arrived.countDown();
      if (reversed) {
        kept.add(0, request);
        if (kept.size() == 50) {
          kept.forEach(this::answer);
        }
      } else {
        answer(request);
      }
    }

    private void answer(InferStreamRequest request) {
      var response = InferStreamResponse.newBuilder().setRequestId(request.getRequestId());
      String text = request.getRequest().getItems(0).getText();
      if (text.equals("held")) {
        return;
      }
      if (text.startsWith("busy") && busy.add(text) || text.equals("always busy")) {
        arrivals.incrementAndGet();
        var status = FakeService.status(Status.Code.RESOURCE_EXHAUSTED, "OVERLOADED", null, 10);
        answers.onNext(response.setError(status).build());
        return;
      }
      if (text.equals("bad")) {
        var status = FakeService.status(Status.Code.NOT_FOUND, "MODEL_NOT_FOUND", null, -1);
        answers.onNext(response.setError(status).build());
        return;
      }
      if (request.getPartials()) {
        answers.onNext(response.setPartial(Partial.newBuilder().setText(text)).build());
      }
      answers.onNext(response.setResponse(FakeService.answer(request.getRequest())).build());
    }

    @Override
    public void onError(Throwable thrown) {}

    @Override
    public void onCompleted() {
      answers.onCompleted();
    }
  }

  private final Set<String> busy = ConcurrentHashMap.newKeySet();

  @Test
  void answersComeInAnyOrder() {
    service.stream = answers -> new Echo(answers, true);
    try (RequestStream stream = client.openStream()) {
      List<CompletableFuture<InferResult>> answers = new ArrayList<>();
      for (int i = 0; i < 50; i++) {
        answers.add(stream.send(request("x".repeat(i))));
      }
      stream.finish().join();
      for (int i = 0; i < 50; i++) {
        assertEquals(i, answers.get(i).join().only().embedding()[0]);
      }
      assertThrows(IllegalStateException.class, () -> stream.send(request("late")));
    }
  }

  @Test
  void sendsAgainWhatWasRefusedForNow() throws Exception {
    service.close();
    client.close();
    client = WebinferClient.connect(service.startOnLoopback());
    try (RequestStream stream = client.openStream()) {
      var once = stream.send(request("busy"));
      var never = stream.send(request("always busy"));
      var ended = stream.finish();
      assertEquals(4, once.join().only().embedding()[0]);
      var error = assertThrows(CompletionException.class, never::join);
      assertInstanceOf(WebinferException.Overloaded.class, error.getCause());
      ended.join();
      assertEquals(1 + 5, arrivals.get());
    }
  }

  @Test
  void aSenderWaitsForAPlace() throws Exception {
    try (RequestStream stream = client.openStream()) {
      for (int i = 0; i < 64; i++) {
        stream.send(request("held"));
      }
      var further = CompletableFuture.supplyAsync(() -> stream.send(request("x")));
      assertThrows(TimeoutException.class, () -> further.get(200, TimeUnit.MILLISECONDS));
      stream.close();
      assertThrows(CompletionException.class, further::join);
    }
  }

  @Test
  void anErrorLeavesTheOthersAlone() {
    try (RequestStream stream = client.openStream()) {
      var bad = stream.send("b", request("bad"), null);
      var good = stream.send("g", request("good"), null);
      var error = assertThrows(CompletionException.class, bad::join);
      assertEquals("MODEL_NOT_FOUND", assertInstanceOf(WebinferException.NotFound.class, error.getCause()).reason());
      assertEquals(4, good.join().only().embedding()[0]);
    }
  }

  @Test
  void tellsPartialsToThoseWhoAsk() {
    try (RequestStream stream = client.openStream()) {
      List<String> texts = new ArrayList<>();
      stream.send(request("word"), partial -> texts.add(partial.getText())).join();
      assertEquals(List.of("word"), texts);
      var failing = stream.send(request("word"), partial -> {
        throw new IllegalArgumentException("enough");
      });
      var error = assertThrows(CompletionException.class, failing::join);
      assertInstanceOf(IllegalArgumentException.class, error.getCause());
      assertEquals(4, stream.send(request("next")).join().only().embedding()[0]);
    }
  }

  @Test
  void idsAreUniqueWhileInFlight() {
    try (RequestStream stream = client.openStream()) {
      stream.send("id", request("held"), null);
      assertThrows(IllegalArgumentException.class, () -> stream.send("id", request("x"), null));
      stream.send("other", request("x"), null).join();
      stream.send("other", request("x"), null).join();
      Request own = request("x").withDeadline(Duration.ofSeconds(1));
      assertThrows(IllegalArgumentException.class, () -> stream.send(own));
    }
  }

  @Test
  void closingCancelsWhatIsOpen() throws Exception {
    RequestStream stream = client.openStream();
    var held = stream.send(request("held"));
    assertTrue(FakeService.within(arrived));
    stream.close();
    assertTrue(FakeService.within(service.cancelled));
    var error = assertThrows(CompletionException.class, held::join);
    assertInstanceOf(WebinferException.Cancelled.class, error.getCause());
    assertThrows(CompletionException.class, () -> stream.finish().join());
    assertThrows(IllegalStateException.class, () -> stream.send(request("x")));
    stream.close();
  }

  @Test
  void aServiceThatEndsTheStreamLeavesNobodyWaiting() throws Exception {
    service.stream = answers -> new Echo(answers, false) {
      @Override
      public void onNext(InferStreamRequest request) {
        answers.onCompleted();
      }
    };
    try (RequestStream stream = client.openStream()) {
      var error = assertThrows(CompletionException.class, () -> stream.send(request("x")).join());
      assertInstanceOf(WebinferException.Unavailable.class, error.getCause());
      var after = stream.send(request("y"));
      assertInstanceOf(
          WebinferException.Unavailable.class, assertThrows(CompletionException.class, after::join).getCause());
    }
  }

  @Test
  void hasADeadline() {
    try (RequestStream stream = client.openStream(Duration.ofMillis(100))) {
      var error = assertThrows(CompletionException.class, () -> stream.send(request("held")).join());
      assertInstanceOf(WebinferException.DeadlineExceeded.class, error.getCause());
    }
  }

  @Test
  void anAnswerMaySendTheNextRequest() throws Exception {
    try (RequestStream stream = client.openStream()) {
      CompletableFuture<InferResult> chain = stream.send(request("a"));
      for (int i = 0; i < 20; i++) {
        chain = chain.thenCompose(result -> stream.send(request("b")));
      }
      assertEquals(1, chain.get(FakeService.PATIENCE, TimeUnit.SECONDS).only().embedding()[0]);
    }
  }

  @Test
  void aSenderWaitsForAServiceThatDoesNotRead() throws Exception {
    service.stream = answers -> {
      ((ServerCallStreamObserver<?>) answers).disableAutoRequest();
      return new Echo(answers, false);
    };
    RequestStream stream = client.openStream();
    AtomicInteger sent = new AtomicInteger();
    CompletableFuture<Void> sender = CompletableFuture.runAsync(() -> {
      while (sent.incrementAndGet() < 1000) {
        stream.send(request("x"));
      }
    });
    assertThrows(TimeoutException.class, () -> sender.get(500, TimeUnit.MILLISECONDS));
    assertTrue(sent.get() < 100, sent + " were sent");
    stream.close();
    var error = assertThrows(CompletionException.class, sender::join);
    assertInstanceOf(IllegalStateException.class, error.getCause());
  }

  @Test
  void manyThreadsShareIt() {
    try (RequestStream stream = client.openStream()) {
      List<CompletableFuture<InferResult>> answers = new ArrayList<>();
      for (int i = 0; i < 500; i++) {
        String text = "x".repeat(i);
        answers.add(CompletableFuture.supplyAsync(() -> stream.send(request(text))).thenCompose(answer -> answer));
      }
      for (int i = 0; i < 500; i++) {
        assertEquals(i, answers.get(i).join().only().embedding()[0]);
      }
    }
  }
}
