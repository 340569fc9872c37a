// Inputs and tensors, without a service.

import { expect, test } from "vitest";
import { toItem, type Input } from "../src/inputs.js";
import { InvalidInput, Tensor, type TensorData, type TensorType } from "../src/node.js";
import { fromMessage, toMessage } from "../src/tensors.js";

test.each([
  [Float32Array.of(1, 2, 3), "float32"],
  [Uint16Array.of(1, 2, 3), "float16"],
  [BigInt64Array.of(1n, -2n, 3n), "int64"],
  [Int32Array.of(1, -2, 3), "int32"],
  [Int8Array.of(1, -2, 3), "int8"],
  [Uint8Array.of(1, 2, 3), "uint8"],
  [Uint8Array.of(1, 0, 1), "bool"],
] as [TensorData, TensorType][])("tensors come back as they went: %s %s", (data, type) => {
  const message = toMessage(new Tensor(data, [1, 3], type));
  expect(message.data.buffer).toBe(data.buffer);
  const back = fromMessage(message);
  expect(back).toMatchObject({ type, shape: [1, 3] });
  expect(back.data).toEqual(data);
  expect(back.data.buffer).toBe(data.buffer);
});

test("a part of an array is that part", () => {
  const whole = Float32Array.of(1, 2, 3, 4);
  expect(fromMessage(toMessage(new Tensor(whole.subarray(1, 3)))).data).toEqual(Float32Array.of(2, 3));
});

test("bytes that are not aligned are copied", () => {
  const message = toMessage(new Tensor(Float32Array.of(1, 2)));
  const odd = new Uint8Array(9);
  odd.set(message.data, 1);
  const back = fromMessage({ ...message, data: odd.subarray(1) });
  expect(back.data).toEqual(Float32Array.of(1, 2));
  expect(back.data.buffer).not.toBe(odd.buffer);
});

test("scalars and empty tensors have their shapes", () => {
  expect(new Tensor(Float32Array.of(1), []).shape).toEqual([]);
  expect(new Tensor(new Float32Array(0), [0, 5]).shape).toEqual([0, 5]);
});

test.each([
  [Float64Array.of(1)],
  [Uint16Array.of(1)],
  [Uint32Array.of(1)],
  [[1, 2]],
  [undefined],
  [Float32Array.of(1), [2]],
  [Float32Array.of(1), [-1]],
  [Float32Array.of(1), [0.5]],
  [Float32Array.of(1), [1], "int32"],
  [Int8Array.of(1), [1], "bool"],
  [Float32Array.of(1), [1], "float64"],
] as unknown as [never, number[]?, never?][])(
  "what does not fit together is refused: %s %s %s",
  (data, shape, type) => {
    expect(() => new Tensor(data, shape, type)).toThrow(InvalidInput);
  },
);

test("each kind of input becomes its kind of item", async () => {
  const bytes = Uint8Array.of(1, 2, 3);
  const pixels = { width: 1, height: 1, channels: 3, data: bytes };
  for (const [input, kind] of [
    ["text", "text"],
    [{ tensors: { x: new Tensor(Float32Array.of(1)) } }, "tensors"],
    [{ image: bytes }, "image"],
    [{ image: bytes.buffer }, "image"],
    [{ image: new Blob([bytes]) }, "image"],
    [{ image: pixels }, "image"],
    [{ audio: bytes }, "audio"],
    [{ audio: { samples: Float32Array.of(0), rate: 16000 } }, "audio"],
    [{ question: "Who?", context: "A king." }, "question"],
    [{ question: "Who?", document: bytes }, "question"],
    [{ query: "Who?", documents: ["a"] }, "query"],
    [{ chat: "Why?" }, "chat"],
    [{ chat: [{ role: "user", content: ["What?", { image: bytes }] }] }, "chat"],
  ] as [Input, string][]) {
    const item = await toItem(input);
    expect(item.input.case).toBe(kind);
    expect(await toItem(item)).toBe(item);
  }
});

test.each([
  [undefined],
  [null],
  [5],
  [{}],
  [{ image: "name.png" }],
  [{ image: { width: 2, height: 2, data: new Uint8Array(3) } }],
  [{ audio: { samples: [1, 2], rate: 1 } }],
  [{ audio: { samples: Float32Array.of(1) } }],
  [{ tensors: { x: Float32Array.of(1) } }],
  [{ query: "Who?" }],
  [{ query: "Who?", documents: "a king" }],
  [{ question: 5, context: "A king." }],
  [{ chat: 5 }],
  [{ chat: ["Why?"] }],
  [{ chat: [{ role: "user" }] }],
])("what is no input is refused with what is: %j", async (input) => {
  await expect(toItem(input as never)).rejects.toThrow(InvalidInput);
});
