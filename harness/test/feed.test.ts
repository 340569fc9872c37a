/** Feed: what a graph declares against what came. */
import { expect, test } from "vitest";
import { checkFeed, tensorMetadata } from "../src/feed";
import { FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";

const INPUTS = tensorMetadata("input", [
  { name: "x", isTensor: true, type: "float32", shape: ["batch", 3] },
  { name: "y", isTensor: true, type: "int64", shape: [] },
]);
const y = { type: "int64", dims: [] };

test("what fits is let through, whatever its free dimensions are", () => {
  for (const batch of [0, 1, 7]) checkFeed({ x: { type: "float32", dims: [batch, 3] }, y }, INPUTS);
});

test.each([
  [{ y }, 'tensor "x": expected float32[batch,3], got nothing'],
  [{ x: { type: "int32", dims: [1, 3] }, y }, 'tensor "x": expected float32[batch,3], got int32[1,3]'],
  [{ x: { type: "float32", dims: [1, 4] }, y }, "expected float32[batch,3], got float32[1,4]"],
  [{ x: { type: "float32", dims: [3] }, y }, "expected float32[batch,3], got float32[3]"],
  [{ x: { type: "float32", dims: [1, 3] }, y, z: y }, 'tensor "z" is not an input of the graph, which has x, y'],
])("what does not fit is named: %#", (feed, message) => {
  const call = () => checkFeed(feed, INPUTS);
  expect(call).toThrow(message);
  expect(call).toThrow(expect.objectContaining({ kind: FailureKind.BAD_INPUT }));
});

test("a negative dimension is a free one", () => {
  const [input] = tensorMetadata("input", [{ name: "x", isTensor: true, type: "float32", shape: [-1, 2] }]);
  expect(input?.shape).toEqual(["-1", 2]);
});

test("a graph whose values cannot travel is refused", () => {
  expect(() => tensorMetadata("output", [{ name: "s", isTensor: false }])).toThrow('output "s" is not a tensor');
  expect(() => tensorMetadata("input", [{ name: "s", isTensor: true, type: "string", shape: [] }])).toThrow("string");
});
