package dev.webinfer;

import dev.webinfer.v1.InferenceServiceGrpc;
import dev.webinfer.v1.ModelServiceGrpc;
import dev.webinfer.v1.Priority;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.concurrent.TimeUnit;

/** Makes a {@link WebinferClient}. Not for several threads at once. */
public final class ClientBuilder {
  /** This library's version, which the build writes into a resource. */
  static final String VERSION = readVersion();

  private static final Metadata.Key<String> CLIENT =
      Metadata.Key.of("webinfer-client", Metadata.ASCII_STRING_MARSHALLER);

  private final ManagedChannelBuilder<?> channel;
  private Duration deadline = Duration.ofSeconds(60);
  private Duration loadDeadline = Duration.ofMinutes(10);
  private int maxAttempts = 5;
  private Duration initialBackoff = Duration.ofMillis(200);
  private Duration maxBackoff = Duration.ofSeconds(5);
  private String clientName = "";
  private Priority priority = Priority.PRIORITY_UNSPECIFIED;
  private int maxInboundBytes = 256 << 20;
  private long retryBufferBytes = 256L << 20;

  ClientBuilder(ManagedChannelBuilder<?> channel) {
    this.channel = Objects.requireNonNull(channel, "channel");
  }

  /**
   * Sets the deadline of calls whose request has none. Loads and streams of requests have their own.
   *
   * @param deadline time for a call with all its attempts, above zero. Default: 60 seconds
   * @return this
   */
  public ClientBuilder deadline(Duration deadline) {
    this.deadline = Calls.positive(deadline, "deadline");
    return this;
  }

  /**
   * Sets the deadline of loads.
   *
   * @param loadDeadline time for a load, above zero. Default: 10 minutes
   * @return this
   */
  public ClientBuilder loadDeadline(Duration loadDeadline) {
    this.loadDeadline = Calls.positive(loadDeadline, "loadDeadline");
    return this;
  }

  /**
   * Sets how often a call is tried that the service refuses with {@code RESOURCE_EXHAUSTED} or {@code UNAVAILABLE}. It
   * is tried again when the service says, or else after a growing delay, within its deadline.
   *
   * @param maxAttempts attempts in all; 1 for no second one. Default: 5
   * @return this
   */
  public ClientBuilder maxAttempts(int maxAttempts) {
    if (maxAttempts < 1) {
      throw new IllegalArgumentException("maxAttempts must be 1 or more, not " + maxAttempts);
    }
    this.maxAttempts = maxAttempts;
    return this;
  }

  /**
   * Sets the delays between attempts where the service does not name one. Each is twice the one before, and drawn
   * around that, so that callers do not come back all at once.
   *
   * @param initial the first delay, above zero. Default: 200 ms
   * @param max the longest delay, at least the first one, at most 365 days. Default: 5 s
   * @return this
   */
  public ClientBuilder backoff(Duration initial, Duration max) {
    initialBackoff = Calls.positive(initial, "initial");
    maxBackoff = Calls.positive(max, "max");
    if (initial.compareTo(max) > 0 || max.compareTo(Calls.LONGEST) > 0) {
      throw new IllegalArgumentException("max must be " + initial + " to " + Calls.LONGEST + ", not " + max);
    }
    return this;
  }

  /**
   * Names the client. The service shares its time among names, whatever connections they come by.
   *
   * @param clientName 1 to 128 printable ASCII characters. Default: none; a connection is a client then
   * @return this
   */
  public ClientBuilder clientName(String clientName) {
    if (!clientName.matches("[ -~]{1,128}")) {
      throw new IllegalArgumentException("clientName must be 1 to 128 printable ASCII characters");
    }
    this.clientName = clientName;
    return this;
  }

  /**
   * Sets the priority of requests that name none.
   *
   * @param priority how urgent they are. Default: not said, which is normal
   * @return this
   */
  public ClientBuilder priority(Priority priority) {
    this.priority = Objects.requireNonNull(priority, "priority");
    return this;
  }

  /**
   * Sets the largest answer that is taken. What may be sent is the service's to decide.
   *
   * @param bytes bytes of one message, above 0. Default: 256 MiB
   * @return this
   */
  public ClientBuilder maxInboundBytes(int bytes) {
    if (bytes < 1) {
      throw new IllegalArgumentException("maxInboundBytes must be above 0, not " + bytes);
    }
    maxInboundBytes = bytes;
    return this;
  }

  /**
   * Sets how much of what was sent is kept for further attempts, over all calls. A call that goes over it has no
   * further attempt. Messages are kept as they are, not copied.
   *
   * @param bytes bytes of messages, above 0. Default: 256 MiB
   * @return this
   */
  public ClientBuilder retryBufferBytes(long bytes) {
    if (bytes < 1) {
      throw new IllegalArgumentException("retryBufferBytes must be above 0, not " + bytes);
    }
    retryBufferBytes = bytes;
    return this;
  }

  /**
   * Makes the client, once. It connects with its first call.
   *
   * @return the client
   */
  public WebinferClient build() {
    channel
        .userAgent("webinfer-java/" + VERSION)
        .maxInboundMessageSize(maxInboundBytes)
        .perRpcBufferLimit(retryBufferBytes)
        .retryBufferSize(retryBufferBytes)
        // A service that is gone without a word is found out.
        .keepAliveTime(30, TimeUnit.SECONDS)
        .keepAliveTimeout(20, TimeUnit.SECONDS)
        // Retries are this client's own: nothing is asked of the name service.
        .disableServiceConfigLookUp();
    if (maxAttempts > 1) {
      // gRPC stops at 5 by itself, whatever the policy says.
      channel.maxRetryAttempts(maxAttempts).defaultServiceConfig(serviceConfig()).enableRetry();
    } else {
      channel.disableRetry();
    }
    if (!clientName.isEmpty()) {
      Metadata headers = new Metadata();
      headers.put(CLIENT, clientName);
      channel.intercept(MetadataUtils.newAttachHeadersInterceptor(headers));
    }
    ManagedChannel built = channel.build();
    return new WebinferClient(new Calls(built, maxAttempts), built, deadline, loadDeadline, priority);
  }

  /** The retry policy, as gRPC's service config has it. Its numbers are all doubles, as in JSON. */
  private Map<String, Object> serviceConfig() {
    Map<String, Object> policy =
        Map.of(
            "maxAttempts", (double) maxAttempts,
            "initialBackoff", seconds(initialBackoff),
            "maxBackoff", seconds(maxBackoff),
            "backoffMultiplier", 2.0,
            "retryableStatusCodes", List.of("RESOURCE_EXHAUSTED", "UNAVAILABLE"));
    List<Map<String, String>> services =
        List.of(
            Map.of("service", InferenceServiceGrpc.SERVICE_NAME), Map.of("service", ModelServiceGrpc.SERVICE_NAME));
    return Map.of("methodConfig", List.of(Map.of("name", services, "retryPolicy", policy)));
  }

  private static String seconds(Duration duration) {
    return String.format(Locale.ROOT, "%d.%09ds", duration.getSeconds(), duration.getNano());
  }

  private static String readVersion() {
    Properties properties = new Properties();
    try (InputStream in = ClientBuilder.class.getResourceAsStream("client.properties")) {
      properties.load(in);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return properties.getProperty("version");
  }
}
