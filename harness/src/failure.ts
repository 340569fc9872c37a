/** Failure: what went wrong, in the kinds that the service knows, and whether it is a whole call or one item of it. */
import { create } from "@bufbuild/protobuf";
import { type Failed, FailedSchema, FailureKind } from "./gen/webinfer/bridge/v1/bridge_pb";

/** An error whose kind is known. */
export class Failure extends Error {
  override readonly name = "Failure";

  constructor(
    readonly kind: FailureKind,
    message: string,
    /** Whether the worker can do nothing more. */
    readonly fatal = false,
  ) {
    super(message);
  }
}

export function badInput(message: string): Failure {
  return new Failure(FailureKind.BAD_INPUT, message);
}

/** An input that could not be read: its own fault, if it is not that of the worker's memory. */
export function unread(error: unknown, what = describe(error)): Failure {
  const failure = toFailure(error);
  const isOwn = failure === error || failure.kind === FailureKind.OUT_OF_MEMORY;
  return isOwn ? failure : badInput(what);
}

/** Texts of errors that the runtime and the browser give no type of their own. */
const BY_MESSAGE: [RegExp, FailureKind][] = [
  [
    /bad_alloc|out of memory|gave no canvas|allocation failed|could not allocate|cannot enlarge memory|invalid (typed )?array (buffer )?length/i,
    FailureKind.OUT_OF_MEMORY,
  ],
  [/device (is |was |has been )?lost/i, FailureKind.DEVICE_LOST],
  [/failed to get gpu adapter|webgpu is not supported|no available adapters/i, FailureKind.NO_BACKEND],
];

/** Makes the frame for whatever was thrown. `fatal` where the caller knows that the worker is done for. */
export function failed(error: unknown, fatal = false): Failed {
  const failure = toFailure(error);
  return create(FailedSchema, {
    kind: failure.kind,
    message: failure.message,
    fatal: fatal || failure.fatal,
  });
}

function toFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  const message = describe(error);
  const kind = BY_MESSAGE.find(([pattern]) => pattern.test(message))?.[1] ?? FailureKind.RUNTIME;
  // An exception that leaves WebAssembly, as a trap or as a bare pointer, leaves the heap in no known state.
  const left = typeof error === "number" || error instanceof WebAssembly.RuntimeError;
  return new Failure(kind, message, left || kind === FailureKind.DEVICE_LOST);
}

/** The same, where it leaves the worker unfit for another run. */
export function fatal(error: unknown): Failure {
  const { kind, message } = toFailure(error);
  return new Failure(kind, message, true);
}

/** What came of one item: what is wanted of it, or why it failed alone. */
export type Settled<T> = T | Failure;

/** The failure of one item alone. What is fatal is not: it is thrown on, and fails the call. */
export function alone(error: unknown): Failure {
  const failure = toFailure(error);
  if (failure.fatal) throw failure;
  return failure;
}

/** Takes each item that has not failed a step further. One whose step throws fails alone. */
export function each<T, R>(items: readonly Settled<T>[], step: (item: T, index: number) => R): Settled<R>[] {
  return items.map((item, index) => {
    if (item instanceof Failure) return item;
    try {
      return step(item, index);
    } catch (error) {
      return alone(error);
    }
  });
}

/** The error in words, whatever was thrown. */
export function describe(error: unknown): string {
  if (typeof error === "number")
    return `the WebAssembly runtime threw a C++ exception (at ${error}) that nothing caught`;
  if (error instanceof Error) {
    const plain = error instanceof Failure || error.name === "Error";
    return plain && error.message ? error.message : `${error.name}: ${error.message || "no message"}`;
  }
  if (typeof error === "object" && error !== null && "message" in error) return String(error.message);
  return String(error);
}
