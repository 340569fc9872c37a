/** Feature extraction: items that fail alone, and tokens, with a tokenizer and a model that stand in for the library's. */
import { create } from "@bufbuild/protobuf";
import { beforeEach, expect, test, vi } from "vitest";
import { Failure, type Settled } from "../src/failure";
import { FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { type Item, ItemSchema, type ItemResult } from "../src/gen/webinfer/v1/inference_pb";
import { ModelSpecSchema } from "../src/gen/webinfer/v1/model_pb";
import { openFeatureExtraction } from "../src/tasks/feature-extraction";
import type { OpenTask } from "../src/tasks/task";

/** Tokens of each text after padding, and numbers of each vector. */
const [TOKENS, SIZE] = [3, 2];

interface Inputs {
  input_ids: { size: number };
  /** What came, for the model to look at. */
  texts: string[];
}

const { tokenizer, model } = vi.hoisted(() => ({ tokenizer: vi.fn(), model: vi.fn() }));
vi.mock("@huggingface/transformers", () => ({
  AutoTokenizer: { from_pretrained: async () => tokenizer },
  AutoModel: { from_pretrained: async () => model },
}));

beforeEach(() => {
  tokenizer.mockReset().mockImplementation((texts: string[]) => ({
    input_ids: { size: texts.length * TOKENS },
    attention_mask: { data: new BigInt64Array(texts.length * TOKENS).fill(1n) },
    texts,
  }));
  // Each token's vector is the text, as a number, and 1; that of a text "0" is all zero.
  model.mockReset().mockImplementation(async ({ texts }: Inputs) => ({
    last_hidden_state: {
      dims: [texts.length, TOKENS, SIZE],
      data: Float32Array.from(
        texts.flatMap((text) => Array.from({ length: TOKENS }, () => [Number(text), text === "0" ? 0 : 1]).flat()),
      ),
    },
  }));
});

function open() {
  const spec = create(ModelSpecSchema, { dtype: "fp32", unnormalized: true });
  return openFeatureExtraction({ base: "/models/m/", spec, device: "wasm", externalData: [] } as unknown as OpenTask);
}

function text(value: string): Item {
  return create(ItemSchema, { input: { case: "text", value } });
}

/** The vector, or the kind and the words of the failure. */
function told(settled: Settled<ItemResult>): unknown {
  if (settled instanceof Failure) return [settled.kind, settled.message];
  return settled.output.case === "embedding" ? [...settled.output.value.values] : undefined;
}

test("a vector that no model means is its item's failure", async () => {
  const task = await open();
  const prepared = task.preprocess([text("7"), text("0"), text("nan"), text("Infinity"), text("8")]);
  expect(task.tokens(prepared)).toBe(5 * TOKENS);
  expect(task.postprocess(await task.infer(prepared), prepared).map(told)).toEqual([
    [7, 1],
    [FailureKind.BAD_OUTPUT, "the vector is all zero"],
    [FailureKind.BAD_OUTPUT, "the vector is not finite"],
    [FailureKind.BAD_OUTPUT, "the vector is not finite"],
    [8, 1],
  ]);
});

test("an item that is no text fails alone, and does not run", async () => {
  const task = await open();
  const prepared = task.preprocess([create(ItemSchema), text("7"), create(ItemSchema), text("8")]);
  expect(task.tokens(prepared)).toBe(2 * TOKENS);
  const nothing = [FailureKind.BAD_INPUT, "expected a text, got nothing"];
  const results = task.postprocess(await task.infer(prepared), prepared);
  expect(results.map(told)).toEqual([nothing, [7, 1], nothing, [8, 1]]);
  expect(tokenizer).toHaveBeenCalledWith(["7", "8"], { padding: true, truncation: true });
});

test("a call without any text fails as bad input", async () => {
  const task = await open();
  expect(() => task.preprocess([create(ItemSchema)])).toThrow(
    expect.objectContaining({ kind: FailureKind.BAD_INPUT, message: "expected a text, got nothing" }),
  );
});

test("what the tokenizer or the run throws fails the whole call", async () => {
  const task = await open();
  const prepared = task.preprocess([text("7"), text("8")]);
  model.mockRejectedValueOnce(new Error("no memory"));
  await expect(task.infer(prepared)).rejects.toThrow("no memory");
  tokenizer.mockImplementationOnce(() => {
    throw new Error("no vocabulary");
  });
  expect(() => task.preprocess([text("7")])).toThrow("no vocabulary");
});

test("it warms up with one text and with several", async () => {
  await (await open()).warmUp();
  expect(tokenizer.mock.calls.map(([texts]) => texts.length)).toEqual([1, 2]);
  expect(model).toHaveBeenCalledTimes(2);
});
