/** Failure: the kind, the words and the verdict of whatever is thrown. */
import { expect, test } from "vitest";
import { badInput, describe, failed, Failure } from "../src/failure";
import { FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";

test.each<[unknown, FailureKind, boolean]>([
  [badInput("item 0"), FailureKind.BAD_INPUT, false],
  [new Failure(FailureKind.NO_BACKEND, "none", true), FailureKind.NO_BACKEND, true],
  [new Error("ERROR_CODE: 6, ERROR_MESSAGE: std::bad_alloc"), FailureKind.OUT_OF_MEMORY, false],
  [new RangeError("Array buffer allocation failed"), FailureKind.OUT_OF_MEMORY, false],
  [new RangeError("WebAssembly.Memory(): could not allocate memory"), FailureKind.OUT_OF_MEMORY, false],
  [new Error("Out of memory"), FailureKind.OUT_OF_MEMORY, false],
  [new Error("Failed to get GPU adapter. You may need to enable a flag"), FailureKind.NO_BACKEND, false],
  [new Error("the GPU device was lost"), FailureKind.DEVICE_LOST, true],
  [new WebAssembly.RuntimeError("unreachable"), FailureKind.RUNTIME, true],
  [new Error("something else"), FailureKind.RUNTIME, false],
  [1234, FailureKind.RUNTIME, true],
  [undefined, FailureKind.RUNTIME, false],
])("%s", (error, kind, fatal) => {
  expect(failed(error)).toMatchObject({ kind, fatal });
  expect(failed(error, true).fatal).toBe(true);
});

test("everything has words", () => {
  expect(describe(new Error("plain"))).toBe("plain");
  expect(describe(new TypeError("x is not a function"))).toBe("TypeError: x is not a function");
  expect(describe(new Error())).toBe("Error: no message");
  expect(describe({ message: "from another realm" })).toBe("from another realm");
  expect(describe("text")).toBe("text");
  expect(describe(98765)).toContain("98765");
});
