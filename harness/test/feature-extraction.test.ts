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

type Inputs = Record<string, Tensor>;

const { tokenizer, infer, pipeline, Tensor } = vi.hoisted(() => ({
  tokenizer: vi.fn(),
  infer: vi.fn(),
  pipeline: vi.fn(),
  Tensor: class {
    constructor(
      readonly type: string,
      readonly data: BigInt64Array,
      readonly dims: number[],
    ) {}
  },
}));
type Tensor = InstanceType<typeof Tensor>;
vi.mock("@huggingface/transformers", () => ({ pipeline, Tensor, RawImage: class {} }));

/** Texts that were made into tokens: each token of a text is its place here. */
const known: string[] = [];

function textsOf({ input_ids }: Inputs): string[] {
  const { data, dims } = input_ids!;
  return Array.from({ length: dims[0]! }, (_, row) => known[Number(data[row * TOKENS])]!);
}

beforeEach(() => {
  const model = Object.assign((inputs: Inputs) => model.forward(inputs), { sessions: {}, forward: infer, config: {} });
  pipeline.mockReset().mockResolvedValue({ model, tokenizer });
  tokenizer.mockReset().mockImplementation(([text]: [string]) => {
    const all = (value: bigint) => new Tensor("int64", new BigInt64Array(TOKENS).fill(value), [1, TOKENS]);
    return { input_ids: all(BigInt(known.push(text) - 1)), attention_mask: all(1n) };
  });
  // Each token's vector is the text, as a number, and 1; that of a text "0" is all zero.
  infer.mockReset().mockImplementation(async (inputs: Inputs) => {
    const texts = textsOf(inputs);
    const vectors = texts.flatMap((text) =>
      Array(TOKENS)
        .fill([Number(text), text === "0" ? 0 : 1])
        .flat(),
    );
    return { last_hidden_state: { dims: [texts.length, TOKENS, SIZE], data: Float32Array.from(vectors) } };
  });
});

function open(externalData: string[] = []) {
  const spec = create(ModelSpecSchema, { dtypes: { model: "q8" }, unnormalized: true });
  const opening = { base: "/models/m/", spec, device: "wasm", externalData, logSeverityLevel: 3, clock: new Clock() };
  return openFeatureExtraction(opening as unknown as OpenTask);
}

const parameters = create(ParametersSchema);

/** The texts as the task reads them. */
function inputs(task: Awaited<ReturnType<typeof open>>, texts: string[]) {
  const read = (value: string) => task.read(create(ItemSchema, { input: { case: "text", value } })) as never;
  return texts.map((text) => ({ read: read(text), parameters }));
}

/** The vector, or the kind and the words of the failure. */
function told(settled: Settled<Output>): unknown {
  if (settled instanceof Failure) return [settled.kind, settled.message];
  return settled.case === "embedding" ? [...(settled.value.values ?? [])] : undefined;
}

test("a vector that no model means is its item's failure", async () => {
  const task = await open();
  expect(task.batching).toBe(Batching.PADDED);
  const outputs = await task.run(inputs(task, ["7", "0", "nan", "Infinity", "8"]));
  expect(outputs.map(told)).toEqual([
    [7, 1],
    [FailureKind.BAD_OUTPUT, "the vector is all zero"],
    [FailureKind.BAD_OUTPUT, "the vector is not finite"],
    [FailureKind.BAD_OUTPUT, "the vector is not finite"],
    [8, 1],
  ]);
  expect(infer).toHaveBeenCalledOnce();
});

test("an item that is no text is refused by what it is", async () => {
  const task = await open();
  const refused = (message: string) => expect.objectContaining({ kind: FailureKind.BAD_INPUT, message });
  expect(() => task.read(create(ItemSchema))).toThrow(refused("expected a text, got nothing"));
  const image = create(ItemSchema, { input: { case: "image", value: {} } });
  expect(() => task.read(image)).toThrow(refused("expected a text, got an image"));
});

test("what the run throws fails the whole call, and what the tokenizer throws its text alone", async () => {
  const task = await open();
  infer.mockRejectedValueOnce(new Error("no memory"));
  await expect(task.run(inputs(task, ["7", "8"]))).rejects.toThrow("no memory");
  tokenizer.mockImplementationOnce(() => {
    throw new Error("no vocabulary");
  });
  expect(() => inputs(task, ["7"])).toThrow("no vocabulary");
});

test("a vector that was made beside the model is taken as it is", async () => {
  const task = await open();
  infer.mockResolvedValueOnce({ "webinfer.vector": { dims: [2, 1, SIZE], data: Float32Array.of(1, 2, 3, 4) } });
  expect((await task.run(inputs(task, ["7", "8"]))).map(told)).toEqual([
    [1, 2],
    [3, 4],
  ]);
});

test("it warms up with one text and with several", async () => {
  infer.mockImplementation(async (inputs: Inputs) => {
    const dims = [textsOf(inputs).length, TOKENS, SIZE];
    return { last_hidden_state: { dims, data: new Float32Array(dims[0]! * TOKENS * SIZE).fill(1) } };
  });
  await (await open()).warmUp();
  expect(infer.mock.calls.map(([inputs]) => inputs.input_ids.dims[0])).toEqual([1, 2]);
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
