/** Failure: what went wrong, in the kinds that the service knows. */
import { create } from "@bufbuild/protobuf";
import { type Failed, FailedSchema, FailureKind } from "./gen/webinfer/bridge/v1/bridge_pb";

/** An error whose kind is known where it arises. */
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

/** Texts of errors that the runtime and the browser give no type of their own. */
const BY_MESSAGE: [RegExp, FailureKind][] = [
  [
    /bad_alloc|out of memory|allocation failed|could not allocate|cannot enlarge memory|invalid (typed )?array (buffer )?length/i,
    FailureKind.OUT_OF_MEMORY,
  ],
  [/device (is |was |has been )?lost/i, FailureKind.DEVICE_LOST],
  [/failed to get gpu adapter|webgpu is not supported|no available adapters/i, FailureKind.NO_BACKEND],
];

/** Makes the frame for whatever was thrown. `fatal` where the caller knows that the worker is done for. */
export function failed(error: unknown, fatal = false): Failed {
  const message = describe(error);
  const kind = error instanceof Failure ? error.kind : kindOf(message);
  return create(FailedSchema, { kind, message, fatal: fatal || isFatal(error, kind) });
}

function kindOf(message: string): FailureKind {
  return BY_MESSAGE.find(([pattern]) => pattern.test(message))?.[1] ?? FailureKind.RUNTIME;
}

function isFatal(error: unknown, kind: FailureKind): boolean {
  if (error instanceof Failure) return error.fatal;
  // An exception that leaves WebAssembly, as a trap or as a bare pointer, leaves the heap in no known state.
  const left = typeof error === "number" || error instanceof WebAssembly.RuntimeError;
  return left || kind === FailureKind.DEVICE_LOST;
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
