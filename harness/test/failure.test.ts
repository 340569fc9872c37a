/** Failure: the kind, the words and the verdict of whatever is thrown, and whom it concerns. */
import { expect, test } from "vitest";
import { badInput, describe, each, failed, Failure, unread } from "../src/failure";
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

test("an item whose step throws fails alone, and takes no further step", () => {
  const steps: number[] = [];
  const once = each([1, 2, 3], (item) => {
    if (item === 2) throw new RangeError("Array buffer allocation failed");
    return item * 10;
  });
  const twice = each(once, (item) => steps.push(item));
  expect(steps).toEqual([10, 30]);
  expect(twice[1]).toBeInstanceOf(Failure);
  expect(twice[1]).toMatchObject({ kind: FailureKind.OUT_OF_MEMORY, fatal: false });
  expect([twice[0], twice[2]]).toEqual([1, 2]);
});

test.each([1234, new WebAssembly.RuntimeError("unreachable"), new Error("the GPU device was lost")])(
  "%s is no item's own failure",
  (error) => {
    const call = () =>
      each([1], () => {
        throw error;
      });
    expect(call).toThrow(expect.objectContaining({ fatal: true }));
  },
);

test("what cannot be read is its own fault, unless the worker's memory does not suffice", () => {
  expect(unread(new Error("no such picture"))).toMatchObject({
    kind: FailureKind.BAD_INPUT,
    message: "no such picture",
  });
  expect(unread(new Error("bad header"), "the image is none")).toMatchObject({ message: "the image is none" });
  for (const words of ["Array buffer allocation failed", "the browser gave no canvas"]) {
    expect(unread(new RangeError(words), "the image is none")).toMatchObject({
      kind: FailureKind.OUT_OF_MEMORY,
      message: expect.stringContaining(words),
    });
  }
  const known = new Failure(FailureKind.CANCELLED, "left");
  expect(unread(known)).toBe(known);
});
