/** Errors: one tree, so that `instanceof WebinferError` holds for all that a client throws. */

import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
  type BadRequest,
  type ErrorInfo,
  type RetryInfo,
} from "./gen/google/rpc/error_details_pb.js";
import type { Status } from "./gen/google/rpc/status_pb.js";
import { fromBinary } from "@bufbuild/protobuf";

/** What an error tells beside its message. */
export interface ErrorFacts {
  /** Name of the gRPC code, such as "NOT_FOUND"; "INVALID_ARGUMENT" also where the client itself refuses an input. */
  code: string;
  /** The service's reason, such as "MODEL_NOT_FOUND"; empty where the error is not the service's own. */
  reason: string;
  /** Names of the request's fields that are at fault. */
  fields: string[];
  /** Milliseconds after which another attempt may work, where the service tells. */
  retryAfterMs: number | undefined;
}

/** Something did not work. */
export class WebinferError extends Error implements ErrorFacts {
  override readonly name: string = "WebinferError";
  readonly code: string;
  readonly reason: string;
  readonly fields: string[];
  readonly retryAfterMs: number | undefined;

  constructor(message: string, facts: Partial<ErrorFacts> = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = facts.code ?? "UNKNOWN";
    this.reason = facts.reason ?? "";
    this.fields = facts.fields ?? [];
    this.retryAfterMs = facts.retryAfterMs;
  }
}

/** What was asked cannot be done: an input, a field or a setting is wrong. Another attempt fails as well. */
export class InvalidInput extends WebinferError {
  override readonly name = "InvalidInput";

  constructor(message: string, facts: Partial<ErrorFacts> = {}, options?: ErrorOptions) {
    super(message, { code: "INVALID_ARGUMENT", ...facts }, options);
  }
}

/** There is no such model or browser. */
export class NotFound extends WebinferError {
  override readonly name = "NotFound";
}

/** The service has no room for it now. It was tried again as often as the settings say. */
export class Overloaded extends WebinferError {
  override readonly name = "Overloaded";
}

/** The answer did not come in time. */
export class DeadlineExceeded extends WebinferError {
  override readonly name = "DeadlineExceeded";
}

/** No service is there, it went away, or it has no browser. */
export class Unavailable extends WebinferError {
  override readonly name = "Unavailable";
}

/** The call was aborted, or its client was closed meanwhile. */
export class Cancelled extends WebinferError {
  override readonly name = "Cancelled";
}

/** The client is closed. */
export class Closed extends WebinferError {
  override readonly name = "Closed";

  constructor() {
    super("this client is closed; make another one", { code: "FAILED_PRECONDITION" });
  }
}

const BY_CODE: Partial<Record<Code, typeof WebinferError>> = {
  [Code.InvalidArgument]: InvalidInput,
  [Code.OutOfRange]: InvalidInput,
  [Code.NotFound]: NotFound,
  [Code.ResourceExhausted]: Overloaded,
  [Code.DeadlineExceeded]: DeadlineExceeded,
  [Code.Unavailable]: Unavailable,
  [Code.Canceled]: Cancelled,
};

/** A code's name in gRPC's own words. */
export function codeName(code: Code): string {
  if (code === Code.Canceled) {
    return "CANCELLED";
  }
  return (Code[code] ?? "Unknown").replace(/(?<=[a-z])[A-Z]/g, "_$&").toUpperCase();
}

/** How connect begins what it says of a message that cannot be sent, such as one with a number below 0. */
const UNSENDABLE = "serialize binary: ";

/** The error of a failed call. */
export function fromCall(thrown: unknown): WebinferError {
  if (thrown instanceof WebinferError) {
    return thrown;
  }
  const error = ConnectError.from(thrown, Code.Unknown);
  if (error.code === Code.Internal && error.rawMessage.startsWith(UNSENDABLE)) {
    return new InvalidInput(error.rawMessage.slice(UNSENDABLE.length), {}, { cause: error });
  }
  const lost = isLost(error);
  return make(lost ? Code.Unavailable : error.code, lost ?? error.rawMessage, {
    info: error.findDetails(ErrorInfoSchema),
    bad: error.findDetails(BadRequestSchema),
    retry: error.findDetails(RetryInfoSchema),
    cause: error,
  });
}

/** Node's codes for a connection that broke. */
const BROKEN = /^(ECONNRESET|EPIPE|ERR_STREAM_DESTROYED|ERR_HTTP2_.*)$/;

/** What is to be said of a connection that is not there, or was lost; undefined for other errors. */
function isLost({ cause, code, rawMessage }: ConnectError): string | undefined {
  if (cause instanceof TypeError && code === Code.Unknown) {
    // All that `fetch` says of a service that cannot be reached, or that does not allow the page's origin.
    return `${rawMessage}: is the service there, and does its --cors-origin name the origin of this page?`;
  }
  const reason = cause instanceof Error && "code" in cause ? `${cause.code}` : "";
  if (reason === "ECONNREFUSED" || reason === "ENOTFOUND") {
    return `no service answers there; does \`webinfer serve\` run? ${rawMessage}`;
  }
  // Node ends the calls of a connection that is closed as if they had been cancelled. One that its caller aborts says so
  // in other words.
  const isClosed = code === Code.Canceled && rawMessage.startsWith("http/2 stream closed");
  const isBroken = (code === Code.Internal || code === Code.Aborted) && BROKEN.test(reason);
  return isClosed || isBroken ? `the connection was lost: ${rawMessage}` : undefined;
}

/** The error that an answer on a stream tells. */
export function fromStatus(status: Status): WebinferError {
  const of = <T>(schema: { typeName: string }, read: (bytes: Uint8Array) => T) =>
    status.details.filter((any) => any.typeUrl.endsWith(`/${schema.typeName}`)).map((any) => read(any.value));
  return make(status.code, status.message, {
    info: of(ErrorInfoSchema, (bytes) => fromBinary(ErrorInfoSchema, bytes)),
    bad: of(BadRequestSchema, (bytes) => fromBinary(BadRequestSchema, bytes)),
    retry: of(RetryInfoSchema, (bytes) => fromBinary(RetryInfoSchema, bytes)),
    cause: undefined,
  });
}

interface Details {
  info: ErrorInfo[];
  bad: BadRequest[];
  retry: RetryInfo[];
  cause: unknown;
}

function make(code: Code, message: string, { info, bad, retry, cause }: Details): WebinferError {
  const delay = retry[0]?.retryDelay;
  const facts = {
    code: codeName(code),
    reason: info[0]?.reason ?? "",
    fields: bad.flatMap((each) => each.fieldViolations.map((violation) => violation.field)),
    retryAfterMs: delay && Number(delay.seconds) * 1e3 + delay.nanos / 1e6,
  };
  // Without a reason it is the word of gRPC for a message that is over its reader's limit.
  const kind = code === Code.ResourceExhausted && !facts.reason ? InvalidInput : (BY_CODE[code] ?? WebinferError);
  return new kind(message, facts, cause === undefined ? undefined : { cause });
}
