/** Tensors: the wire's bytes to the runtime's arrays and back. */
import { create } from "@bufbuild/protobuf";
import { Tensor as OrtTensor } from "onnxruntime-web/webgpu";
import { expect, test } from "vitest";
import { FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { DataType, TensorSchema } from "../src/gen/webinfer/v1/inference_pb";
import { carries, fromOrt, toOrt, zeros } from "../src/tensors";

function tensor(dataType: DataType, shape: bigint[], data: Uint8Array) {
  return create(TensorSchema, { dataType, shape, data });
}

/** The same bytes, `by` bytes into a larger buffer. */
function shifted(data: Uint8Array, by: number): Uint8Array {
  const buffer = new Uint8Array(data.length + by);
  buffer.set(data, by);
  return buffer.subarray(by);
}

const WIDTHS = [
  [DataType.FLOAT32, 4],
  [DataType.FLOAT16, 2],
  [DataType.INT64, 8],
  [DataType.INT32, 4],
  [DataType.INT8, 1],
  [DataType.UINT8, 1],
  [DataType.BOOL, 1],
] as const;

test.each(WIDTHS)("data type %i keeps its bytes, wherever they begin", (dataType, width) => {
  const bytes = Uint8Array.from({ length: 6 * width }, (_, index) => index % 2);
  for (const by of [0, 1, 4]) {
    const back = fromOrt(toOrt("x", tensor(dataType, [2n, 3n], shifted(bytes, by))));
    expect(back).toMatchObject({ dataType, shape: [2n, 3n] });
    expect([...back.data]).toEqual([...bytes]);
  }
});

test("aligned bytes are not copied, neither in nor out", () => {
  const bytes = new Uint8Array(8);
  const ort = toOrt("x", tensor(DataType.FLOAT32, [2n], bytes));
  expect((ort.data as Float32Array).buffer).toBe(bytes.buffer);
  expect(fromOrt(ort).data.buffer).toBe(bytes.buffer);
});

test("scalars and empty tensors are tensors", () => {
  expect(toOrt("x", tensor(DataType.FLOAT32, [], new Uint8Array(4))).dims).toEqual([]);
  expect(toOrt("x", tensor(DataType.INT64, [0n, 5n], new Uint8Array())).size).toBe(0);
  expect(fromOrt(toOrt("x", zeros("int64", [2, 2]))).data).toEqual(new Uint8Array(32));
});

test.each([
  [tensor(DataType.UNSPECIFIED, [], new Uint8Array(4)), "data_type 0 is not known"],
  [tensor(99 as DataType, [], new Uint8Array(4)), "data_type 99 is not known"],
  [tensor(DataType.FLOAT32, [2n, 3n], new Uint8Array(20)), "float32[2,3] takes 24 bytes, got 20"],
  [tensor(DataType.FLOAT32, [-1n], new Uint8Array()), "shape [-1]"],
  [tensor(DataType.FLOAT32, [2n ** 62n], new Uint8Array()), "shape"],
  [tensor(DataType.FLOAT32, Array<bigint>(9).fill(1n), new Uint8Array(4)), "at most 8"],
  [tensor(DataType.BOOL, [2n], new Uint8Array([1, 2])), "neither 0 nor 1"],
])("what does not fit is the caller's fault: %#", (given, message) => {
  const call = () => toOrt("x", given);
  expect(call).toThrow(expect.objectContaining({ kind: FailureKind.BAD_INPUT }));
  expect(call).toThrow(message);
  expect(call).toThrow('tensor "x"');
});

test("types that do not travel are refused", () => {
  expect(carries("float32")).toBe(true);
  expect(carries("string")).toBe(false);
  expect(() => fromOrt(new OrtTensor("string", ["a"], [1]))).toThrow("string");
  expect(() => fromOrt(new OrtTensor("uint32", new Uint32Array(1), [1]))).toThrow("uint32");
});
