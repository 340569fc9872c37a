package dev.webinfer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.webinfer.v1.Partial;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class GenerateTest {
  private static final Request REQUEST = Request.of("m", Inputs.text("count"));
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
  void tellsAConsumerOnTheCallersThread() {
    List<Thread> threads = new ArrayList<>();
    StringBuilder text = new StringBuilder();
    InferResult result = client.generate(REQUEST, partial -> {
      threads.add(Thread.currentThread());
      text.append(partial.getText());
    });
    assertEquals("one two three", text.toString());
    assertEquals("one two three", result.only().text());
    threads.forEach(thread -> assertSame(Thread.currentThread(), thread));
  }

  @Test
  void isAnIterator() {
    try (PartialStream steps = client.generate(REQUEST)) {
      assertTrue(steps.hasNext());
      assertTrue(steps.hasNext());
      assertEquals("one ", steps.next().getText());
      assertEquals("two ", steps.next().getText());
      assertEquals("three", steps.next().getText());
      assertFalse(steps.hasNext());
      assertThrows(NoSuchElementException.class, steps::next);
      assertEquals("one two three", steps.result().only().text());
    }
  }

  @Test
  void isAStream() {
    try (PartialStream steps = client.generate(REQUEST)) {
      assertEquals("one two three", steps.stream().map(Partial::getText).collect(Collectors.joining()));
      assertEquals("one two three", steps.result().only().text());
    }
  }

  @Test
  void theAnswerCanBeHadWithoutTheSteps() {
    try (PartialStream steps = client.generate(REQUEST)) {
      assertEquals("one two three", steps.result().only().generated().getText());
    }
  }

  @Test
  void isAFuture() {
    StringBuffer text = new StringBuffer();
    assertEquals("one two three", client.generateAsync(REQUEST, p -> text.append(p.getText())).join().only().text());
    assertEquals("one two three", text.toString());
  }

  @Test
  void closingStopsTheRun() throws Exception {
    service.generate = (request, answers) -> answers.onNext(FakeService.partial("one "));
    try (PartialStream steps = client.generate(REQUEST)) {
      assertEquals("one ", steps.next().getText());
      steps.close();
      assertTrue(FakeService.within(service.cancelled));
      assertThrows(WebinferException.Cancelled.class, steps::hasNext);
      assertThrows(WebinferException.Cancelled.class, steps::result);
    }
  }

  @Test
  void cancellingTheFutureStopsTheRun() throws Exception {
    service.generate = (request, answers) -> answers.onNext(FakeService.partial("one "));
    CompletableFuture<InferResult> answer = client.generateAsync(REQUEST, partial -> {});
    assertTrue(FakeService.within(service.arrived));
    answer.cancel(true);
    assertTrue(FakeService.within(service.cancelled));
  }

  @Test
  void aConsumerThatThrowsStopsTheRun() throws Exception {
    service.generate = (request, answers) -> answers.onNext(FakeService.partial("one "));
    var thrown = new IllegalArgumentException("enough");
    assertSame(thrown, assertThrows(IllegalArgumentException.class, () -> client.generate(REQUEST, partial -> {
      throw thrown;
    })));
    assertTrue(FakeService.within(service.cancelled));
    var error = assertThrows(CompletionException.class, () -> client.generateAsync(REQUEST, partial -> {
      throw thrown;
    }).join());
    assertSame(thrown, error.getCause());
  }

  @Test
  void failsAfterSteps() {
    service.generate = (request, answers) -> {
      answers.onNext(FakeService.partial("one "));
      answers.onError(FakeService.error(Status.Code.UNAVAILABLE, "WORKER_LOST", null, 1000));
    };
    try (PartialStream steps = client.generate(REQUEST)) {
      assertEquals("one ", steps.next().getText());
      var error = assertThrows(WebinferException.Unavailable.class, steps::hasNext);
      assertEquals("WORKER_LOST", error.reason());
      assertSame(error, assertThrows(WebinferException.Unavailable.class, steps::result));
    }
  }

  @Test
  void aStreamWithoutAnAnswerIsAnError() {
    service.generate = (request, answers) -> answers.onCompleted();
    assertThrows(WebinferException.class, () -> client.generate(REQUEST, partial -> {}));
    var error = assertThrows(CompletionException.class, () -> client.generateAsync(REQUEST, partial -> {}).join());
    assertInstanceOf(WebinferException.class, error.getCause());
  }

  @Test
  void holdsTheServiceBackWhileNobodyReads() throws Exception {
    AtomicInteger sent = new AtomicInteger();
    service.generate = (request, answers) -> {
      var call = (ServerCallStreamObserver<dev.webinfer.v1.GenerateResponse>) answers;
      while (call.isReady() && sent.get() < 1000) {
        call.onNext(FakeService.partial("word "));
        sent.incrementAndGet();
      }
    };
    try (PartialStream steps = client.generate(REQUEST)) {
      assertTrue(steps.hasNext());
      assertTrue(sent.get() < 10, sent + " were sent and one was asked for");
    }
  }
}
