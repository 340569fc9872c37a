package dev.webinfer;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A call that failed. The subclasses are for what callers treat apart; every other code is of this class itself.
 *
 * <p>Misuse of this library is no failed call: an argument that cannot be right is an {@link IllegalArgumentException},
 * and a call of a closed client an {@link IllegalStateException}.
 */
public class WebinferException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * A field of the request that is at fault.
   *
   * @param field its path, such as {@code items[1].input}
   * @param description what is wrong with it
   */
  public record FieldViolation(String field, String description) {}

  /** No model or browser has that id. */
  public static final class NotFound extends WebinferException {
    private static final long serialVersionUID = 1L;

    private NotFound(Details details, Throwable cause) {
      super(details, cause);
    }
  }

  /**
   * The service does not take the input: {@code INVALID_ARGUMENT}, or {@code OUT_OF_RANGE} where it is too large. Also
   * {@code RESOURCE_EXHAUSTED} without a reason: gRPC's own word for a message that is over its reader's limit.
   */
  public static final class InvalidInput extends WebinferException {
    private static final long serialVersionUID = 1L;

    private InvalidInput(Details details, Throwable cause) {
      super(details, cause);
    }
  }

  /** {@code RESOURCE_EXHAUSTED}: too much is pending, as a rule, and was so at each attempt; {@link #reason} tells. */
  public static final class Overloaded extends WebinferException {
    private static final long serialVersionUID = 1L;

    private Overloaded(Details details, Throwable cause) {
      super(details, cause);
    }
  }

  /** The time for the call was over, or the service foresaw that it would be. */
  public static final class DeadlineExceeded extends WebinferException {
    private static final long serialVersionUID = 1L;

    private DeadlineExceeded(Details details, Throwable cause) {
      super(details, cause);
    }
  }

  /** The caller cancelled the call, interrupted its thread, or closed the client. */
  public static final class Cancelled extends WebinferException {
    private static final long serialVersionUID = 1L;

    private Cancelled(Details details, Throwable cause) {
      super(details, cause);
    }
  }

  /** No service is there, or it has no browser that could do the work. */
  public static final class Unavailable extends WebinferException {
    private static final long serialVersionUID = 1L;

    private Unavailable(Details details, Throwable cause) {
      super(details, cause);
    }
  }

  /** What the exception tells; one argument for the six constructors. */
  private record Details(
      Status.Code code, String message, String reason, List<FieldViolation> fields, Duration retryAfter) {}

  /** The gRPC code. */
  private final Status.Code code;

  /** The service's reason, or empty. */
  private final String reason;

  /** The fields at fault. They do not survive serialisation: their record has no part in it. */
  private final transient List<FieldViolation> fields;

  /** When to come back, or null. */
  private final Duration retryAfter;

  private WebinferException(Details details, Throwable cause) {
    super(details.message, cause);
    code = details.code;
    reason = details.reason;
    fields = details.fields;
    retryAfter = details.retryAfter;
  }

  /**
   * Returns the gRPC code.
   *
   * @return the code, never {@code OK}
   */
  public Status.Code code() {
    return code;
  }

  /**
   * Returns the service's reason, such as {@code MODEL_NOT_FOUND}.
   *
   * @return the reason, empty where gRPC itself raised the error
   */
  public String reason() {
    return reason;
  }

  /**
   * Returns the fields of the request that are at fault.
   *
   * @return the fields, empty where none is
   */
  public List<FieldViolation> fields() {
    return fields == null ? List.of() : fields;
  }

  /**
   * Tells when to come back.
   *
   * @return the delay, empty where waiting does not help
   */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(retryAfter);
  }

  /** Makes the exception of what gRPC threw; anything else is an error of this library or of a caller's callback. */
  static WebinferException of(Throwable thrown) {
    for (Throwable cause = thrown; cause != null; cause = cause.getCause()) {
      if (cause instanceof WebinferException exception) {
        return exception;
      }
      if (cause instanceof StatusRuntimeException exception) {
        return of(exception.getStatus(), exception.getTrailers(), exception);
      }
      if (cause instanceof StatusException exception) {
        return of(exception.getStatus(), exception.getTrailers(), exception);
      }
    }
    return of(Status.Code.UNKNOWN, String.valueOf(thrown), thrown);
  }

  private static WebinferException of(Status status, Metadata trailers, Throwable cause) {
    com.google.rpc.Status details;
    try {
      details = StatusProto.fromStatusAndTrailers(status, trailers);
    } catch (IllegalArgumentException e) {
      // The details are of another code: they are not this status's.
      details = StatusProto.fromStatusAndTrailers(status, null);
    }
    return of(details, cause);
  }

  /** Makes an exception that no service sent. */
  static WebinferException of(Status.Code code, String message, Throwable cause) {
    return of(com.google.rpc.Status.newBuilder().setCode(code.value()).setMessage(message).build(), cause);
  }

  /** Makes the exception of a status with its details, as it is in trailers and on streams. */
  static WebinferException of(com.google.rpc.Status status, Throwable cause) {
    Status.Code code = Status.fromCodeValue(status.getCode()).getCode();
    String reason = "";
    List<FieldViolation> fields = new ArrayList<>();
    Duration retryAfter = null;
    for (Any detail : status.getDetailsList()) {
      try {
        if (detail.is(ErrorInfo.class)) {
          reason = detail.unpack(ErrorInfo.class).getReason();
        } else if (detail.is(BadRequest.class)) {
          for (var violation : detail.unpack(BadRequest.class).getFieldViolationsList()) {
            fields.add(new FieldViolation(violation.getField(), violation.getDescription()));
          }
        } else if (detail.is(RetryInfo.class)) {
          var delay = detail.unpack(RetryInfo.class).getRetryDelay();
          retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        }
      } catch (InvalidProtocolBufferException e) {
        // A detail that does not decode takes nothing from what the code and the message say.
        continue;
      }
    }
    String message = status.getMessage().isEmpty() ? code.name() : code.name() + ": " + status.getMessage();
    Details details = new Details(code, message, reason, List.copyOf(fields), retryAfter);
    return switch (code) {
      case NOT_FOUND -> new NotFound(details, cause);
      case INVALID_ARGUMENT, OUT_OF_RANGE -> new InvalidInput(details, cause);
      case RESOURCE_EXHAUSTED -> reason.isEmpty()
          ? new InvalidInput(details, cause)
          : new Overloaded(details, cause);
      case DEADLINE_EXCEEDED -> new DeadlineExceeded(details, cause);
      case CANCELLED -> new Cancelled(details, cause);
      case UNAVAILABLE -> new Unavailable(details, cause);
      default -> new WebinferException(details, cause);
    };
  }
}
