/** Feature extraction: items that fail alone, with a tokenizer and a model that stand in for the library's. */
import { create } from "@bufbuild/protobuf";
import { beforeEach, expect, test, vi } from "vitest";
import { Clock } from "../src/clock";
import { Failure, type Settled } from "../src/failure";
import { Batching, FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { ItemSchema, ParametersSchema } from "../src/gen/webinfer/v1/inference_pb";
import { ModelSpecSchema } from "../src/gen/webinfer/v1/model_pb";
import { openFeatureExtraction } from "../src/tasks/feature-extraction";
import type { OpenTask, Output } from "../src/tasks/task";

/** Tokens of each text after padding, and numbers of each vector. */
const [TOKENS, SIZE] = [3, 2];

/** What came, for the model to look at. */
interface Inputs {
  texts: string[];
}

const { tokenizer, infer, pipeline } = vi.hoisted(() => ({ tokenizer: vi.fn(), infer: vi.fn(), pipeline: vi.fn() }));
vi.mock("@huggingface/transformers", () => ({ pipeline }));

beforeEach(() => {
  const model = Object.assign((inputs: Inputs) => model.forward(inputs), { sessions: {}, forward: infer });
  pipeline.mockReset().mockResolvedValue({ model, tokenizer });
  tokenizer.mockReset().mockImplementation((texts: string[]) => ({
    attention_mask: { data: new BigInt64Array(texts.length * TOKENS).fill(1n) },
    texts,
  }));
  // Each token's vector is the text, as a number, and 1; that of a text "0" is all zero.
  infer.mockReset().mockImplementation(async ({ texts }: Inputs) => ({
    last_hidden_state: {
      dims: [texts.length, TOKENS, SIZE],
      data: Float32Array.from(
        texts.flatMap((text) => Array.from({ length: TOKENS }, () => [Number(text), text === "0" ? 0 : 1]).flat()),
      ),
    },
  }));
});

function open(externalData: string[] = []) {
  const spec = create(ModelSpecSchema, { dtypes: { model: "q8" }, unnormalized: true });
  const opening = { base: "/models/m/", spec, device: "wasm", externalData, logSeverityLevel: 3, clock: new Clock() };
  return openFeatureExtraction(opening as unknown as OpenTask);
}

const parameters = create(ParametersSchema);
const inputs = (texts: string[]) => texts.map((read) => ({ read, parameters }));

/** The vector, or the kind and the words of the failure. */
function told(settled: Settled<Output>): unknown {
  if (settled instanceof Failure) return [settled.kind, settled.message];
  return settled.case === "embedding" ? [...(settled.value.values ?? [])] : undefined;
}

test("a vector that no model means is its item's failure", async () => {
  const task = await open();
  expect(task.batching).toBe(Batching.PADDED);
  const outputs = await task.run(inputs(["7", "0", "nan", "Infinity", "8"]));
  expect(outputs.map(told)).toEqual([
    [7, 1],
    [FailureKind.BAD_OUTPUT, "the vector is all zero"],
    [FailureKind.BAD_OUTPUT, "the vector is not finite"],
    [FailureKind.BAD_OUTPUT, "the vector is not finite"],
    [8, 1],
  ]);
  expect(tokenizer).toHaveBeenCalledWith(["7", "0", "nan", "Infinity", "8"], { padding: true, truncation: true });
});

test("an item that is no text is refused by what it is", async () => {
  const task = await open();
  expect(task.read(create(ItemSchema, { input: { case: "text", value: "7" } }))).toBe("7");
  const refused = (message: string) => expect.objectContaining({ kind: FailureKind.BAD_INPUT, message });
  expect(() => task.read(create(ItemSchema))).toThrow(refused("expected a text, got nothing"));
  const image = create(ItemSchema, { input: { case: "image", value: {} } });
  expect(() => task.read(image)).toThrow(refused("expected a text, got an image"));
});

test("what the tokenizer or the run throws fails the whole call", async () => {
  const task = await open();
  infer.mockRejectedValueOnce(new Error("no memory"));
  await expect(task.run(inputs(["7", "8"]))).rejects.toThrow("no memory");
  tokenizer.mockImplementationOnce(() => {
    throw new Error("no vocabulary");
  });
  await expect(task.run(inputs(["7"]))).rejects.toThrow("no vocabulary");
});

test("it warms up with one text and with several", async () => {
  infer.mockImplementation(async ({ texts }: Inputs) => ({
    last_hidden_state: { dims: [texts.length, 1, SIZE], data: new Float32Array(texts.length * SIZE).fill(1) },
  }));
  await (await open()).warmUp();
  expect(tokenizer.mock.calls.map(([texts]) => texts.length)).toEqual([1, 2]);
  expect(infer).toHaveBeenCalledTimes(2);
});

test("a warm-up whose output is none fails", async () => {
  infer.mockResolvedValue({
    last_hidden_state: { dims: [1, TOKENS, SIZE], data: new Float32Array(TOKENS * SIZE).fill(NaN) },
  });
  await expect((await open()).warmUp()).rejects.toThrow("the vector is not finite");
});

test("the library finds weights by its own names, and is handed those of another name", async () => {
  const known = ["onnx/model.onnx_data", "onnx/model.onnx_data_1", "onnx/decoder_q4.onnx_data"];
  await open([...known, "onnx/weights.bin"]);
  expect(pipeline).toHaveBeenCalledWith(
    "feature-extraction",
    "/models/m",
    expect.objectContaining({
      dtype: { model: "q8" },
      use_external_data_format: { "model.onnx": 2, "decoder_q4.onnx": 1 },
      session_options: { logSeverityLevel: 3, externalData: [{ path: "weights.bin", data: "onnx/weights.bin" }] },
    }),
  );
});
