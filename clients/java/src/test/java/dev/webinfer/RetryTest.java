package dev.webinfer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.webinfer.v1.DataType;
import io.grpc.Metadata;
import io.grpc.Status;
import java.nio.ByteBuffer;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Retries are gRPC's own: they are tried with its real transport. */
@Timeout(60)
class RetryTest {
  private final FakeService service = new FakeService();
  private String address;

  @BeforeEach
  void start() throws Exception {
    address = service.startOnLoopback();
  }

  @AfterEach
  void stop() throws Exception {
    service.close();
  }

  private void refuse(int times, Status.Code code, long pushback) {
    service.infer = (request, answer) -> {
      if (service.attempts.get() <= times) {
        answer.onError(FakeService.error(code, "OVERLOADED", null, pushback));
      } else {
        FakeService.reply(answer, FakeService.answer(request));
      }
    };
  }

  @Test
  void comesBackWhenTheServiceSays() {
    refuse(2, Status.Code.RESOURCE_EXHAUSTED, 300);
    try (WebinferClient client = WebinferClient.connect(address)) {
      long start = System.nanoTime();
      client.infer("m", Inputs.text("x"));
      assertEquals(3, service.attempts.get());
      assertTrue(System.nanoTime() - start >= 600_000_000L, "it came back early");
    }
    var agent = Metadata.Key.of("user-agent", Metadata.ASCII_STRING_MARSHALLER);
    assertTrue(service.headers.get(agent).startsWith("webinfer-java/" + WebinferClient.version()));
  }

  @Test
  void givesUpAfterItsAttempts() {
    refuse(100, Status.Code.RESOURCE_EXHAUSTED, 1);
    try (WebinferClient client = WebinferClient.builder(address).maxAttempts(7).build()) {
      var error = assertThrows(WebinferException.Overloaded.class, () -> client.infer("m", Inputs.text("x")));
      assertEquals(Duration.ofMillis(1), error.retryAfter().orElseThrow());
      assertEquals(7, service.attempts.get());
    }
  }

  @Test
  void triesOnceWhereToldSo() {
    refuse(100, Status.Code.UNAVAILABLE, -1);
    try (WebinferClient client = WebinferClient.builder(address).maxAttempts(1).build()) {
      assertThrows(WebinferException.Unavailable.class, () -> client.infer("m", Inputs.text("x")));
      assertEquals(1, service.attempts.get());
    }
  }

  @Test
  void backsOffByItself() {
    refuse(3, Status.Code.UNAVAILABLE, -1);
    ClientBuilder builder = WebinferClient.builder(address).backoff(Duration.ofMillis(1), Duration.ofMillis(5));
    try (WebinferClient client = builder.build()) {
      client.infer("m", Inputs.text("x"));
      assertEquals(4, service.attempts.get());
    }
  }

  @Test
  void sendsNothingAgainThatCannotGoWell() {
    refuse(100, Status.Code.INVALID_ARGUMENT, -1);
    try (WebinferClient client = WebinferClient.connect(address)) {
      assertThrows(WebinferException.InvalidInput.class, () -> client.infer("m", Inputs.text("x")));
      assertEquals(1, service.attempts.get());
    }
  }

  @Test
  void theDeadlineIsThatOfAllAttempts() {
    refuse(100, Status.Code.RESOURCE_EXHAUSTED, 100_000);
    try (WebinferClient client = WebinferClient.connect(address)) {
      Request request = Request.builder("m").text("x").deadline(Duration.ofSeconds(3)).build();
      assertThrows(WebinferException.DeadlineExceeded.class, () -> client.infer(request));
      assertEquals(1, service.attempts.get());
    }
  }

  @Test
  void largeRequestsComeAgainToo() {
    refuse(1, Status.Code.RESOURCE_EXHAUSTED, 1);
    ByteBuffer data = ByteBuffer.allocateDirect(16 << 20);
    try (WebinferClient client = WebinferClient.connect(address)) {
      client.infer("m", Inputs.tensor("x", Tensors.of(data, DataType.DATA_TYPE_UINT8, 16 << 20)));
      assertEquals(2, service.attempts.get());
    }
  }

  @Test
  void takesLargeAnswersUpToItsLimit() {
    service.infer = (request, answer) -> FakeService.reply(answer, FakeService.text("x".repeat(8 << 20)));
    try (WebinferClient client = WebinferClient.connect(address)) {
      assertEquals(8 << 20, client.infer("m", Inputs.text("x")).only().text().length());
    }
    try (WebinferClient client = WebinferClient.builder(address).maxInboundBytes(1 << 20).build()) {
      assertThrows(WebinferException.InvalidInput.class, () -> client.infer("m", Inputs.text("x")));
      assertEquals(2, service.attempts.get());
    }
  }

  @Test
  void tellsThatNobodyIsThere() throws Exception {
    service.close();
    ClientBuilder builder = WebinferClient.builder(address).backoff(Duration.ofMillis(1), Duration.ofMillis(2));
    try (WebinferClient client = builder.build()) {
      var error = assertThrows(WebinferException.Unavailable.class, () -> client.infer("m", Inputs.text("x")));
      assertTrue(error.getMessage().contains(address), error.getMessage());
      assertTrue(error.getMessage().contains("webinfer serve"), error.getMessage());
      assertTrue(error.getMessage().contains("refused"), error.getMessage());
    }
  }

  @Test
  void takesATimeWithoutEnd() {
    Duration forever = Duration.ofSeconds(Long.MAX_VALUE);
    try (WebinferClient client = WebinferClient.builder(address).deadline(forever).build()) {
      client.infer("m", Inputs.text("x"));
    }
    ClientBuilder builder = WebinferClient.builder(address);
    assertThrows(IllegalArgumentException.class, () -> builder.backoff(Duration.ofMillis(1), forever));
    assertThrows(IllegalArgumentException.class, () -> builder.backoff(Duration.ofMillis(2), Duration.ofMillis(1)));
  }
}
