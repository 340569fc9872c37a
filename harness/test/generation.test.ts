/** Generation: the library's own loop over a model whose next token is made up here. */
import "./runtime";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Tensor as OrtTensor } from "onnxruntime-common";
import { LlamaForCausalLM, PretrainedConfig, Tensor } from "@huggingface/transformers";
import { expect, test, vi } from "vitest";
import { Clock } from "../src/clock";
import { Failure } from "../src/failure";
import { FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { FinishReason, GenerationSchema, ParametersSchema } from "../src/gen/webinfer/v1/inference_pb";
import { generate, type Making } from "../src/tasks/generation";
import type { Own, Pipe } from "../src/tasks/pipeline";

const LETTERS = [..."abcdefghijklmnopqrstuvwxyz $"];
const END = LETTERS.indexOf("$");
const CONFIG = { model_type: "llama", num_hidden_layers: 0, num_attention_heads: 1, hidden_size: 1 };

type Next = (last: number) => ArrayLike<number>;

/** After each letter the next one, and "$" ends it. */
const alphabet: Next = (last) => LETTERS.map((_, at) => (at === (last + 1) % LETTERS.length ? 9 : 0));
/** Any letter is as likely as another. */
const any: Next = () => LETTERS.map((_, at) => (at === END ? -9 : 0));

function open(next: Next, generationConfig: object = {}) {
  const run = vi.fn(async ({ input_ids }: Record<string, OrtTensor>) => {
    const last = Number((input_ids!.data as BigInt64Array).at(-1));
    return { logits: new OrtTensor("float32", Float32Array.from(next(last)), [1, 1, LETTERS.length]) };
  });
  const session = { inputNames: ["input_ids", "attention_mask"], inputMetadata: [], run };
  const configs = { generation_config: { eos_token_id: END, ...generationConfig } };
  const model = new LlamaForCausalLM(new PretrainedConfig(CONFIG), { model: session }, configs) as unknown;
  const decode = (tokens: bigint[]) =>
    tokens
      .map((token) => LETTERS[Number(token)])
      .join("")
      .replace("$", "");
  const clock = new Clock();
  clock.watchModel(model as Pipe["model"]);
  clock.guard(model as Pipe["model"]);
  return { pipe: { model, tokenizer: { decode } } as unknown as Pipe, clock, run };
}

async function make(
  { pipe, clock }: ReturnType<typeof open>,
  settings: MessageInitShape<typeof GenerationSchema> = {},
  { prompt = "a", pause, ...more }: Partial<Making> & { prompt?: string; pause?: () => Promise<void> } = {},
) {
  const ids = BigInt64Array.from(prompt, (letter) => BigInt(LETTERS.indexOf(letter)));
  const inputs = { input_ids: new Tensor("int64", ids, [1, ids.length]) };
  const told: string[] = [];
  const step = ({ text = "" }) => void told.push(text);
  clock.start(0, pause);
  const input = { parameters: create(ParametersSchema, { generation: settings }), step };
  const making = { inputs, promptTokens: ids.length, ...more };
  const { generated } = await generate(pipe, input, { clock } as Own, making);
  return { ...generated, told };
}

test("it ends where the model does, and each token is told", async () => {
  const { text, told, finishReason, usage } = await make(open(alphabet), {}, { prompt: "uvw" });
  expect(text).toBe("xyz ");
  expect(finishReason).toBe(FinishReason.STOP);
  expect(usage).toMatchObject({ promptTokens: 3, generatedTokens: 5 });
  expect(told).toEqual(["x", "y", "z", " "]);
});

test("it ends at as many tokens as were asked for, or as the model has room for", async () => {
  const model = open(alphabet);
  const asked = await make(model, { maxNewTokens: 3 });
  expect([asked.text, asked.finishReason]).toEqual(["bcd", FinishReason.LENGTH]);
  const room = await make(model, { maxNewTokens: 30 }, { most: 5 });
  expect([room.text, room.finishReason]).toEqual(["bcde", FinishReason.LENGTH]);
  const unsaid = await make(open(any, { eos_token_id: null }), {}, { newTokens: 7 });
  expect(unsaid.usage!.generatedTokens).toBe(7);
  const full = make(model, {}, { prompt: "abcde", most: 5 });
  await expect(full).rejects.toMatchObject({
    kind: FailureKind.BAD_INPUT,
    message: "the prompt has 5 tokens, and the model has room for 5 with those it makes",
  });
  // The last token that there is room for may be the end as well.
  const last = await make(model, { maxNewTokens: 2 }, { prompt: "z" });
  expect([last.text, last.finishReason]).toEqual([" ", FinishReason.STOP]);
});

test("it ends at the first stop, which is no part of the text, and nothing of it is told", async () => {
  const model = open(alphabet);
  const { text, told, finishReason } = await make(model, { stop: ["klm", "ef"] });
  expect(text).toBe("bcd");
  expect(finishReason).toBe(FinishReason.STOP_TEXT);
  expect(told.join("")).toBe("bcd");
  expect(model.run).toHaveBeenCalledTimes(5);
  const none = await make(model, { stop: ["zz"], maxNewTokens: 4 });
  expect([none.text, none.told.join("")]).toEqual(["bcde", "bcde"]);
});

test("what comes before the text is told with it, and no stop is looked for there", async () => {
  const { text, told } = await make(open(alphabet), { maxNewTokens: 2, stop: ["a"] }, { before: "a" });
  expect([text, told.join("")]).toEqual(["abc", "abc"]);
});

test("draws are repeatable by their seed alone, and do not make the next ones so", async () => {
  const model = open(any);
  const draw = async (seed?: number) =>
    (await make(model, { doSample: true, topK: 30, maxNewTokens: 40, ...(seed !== undefined && { seed }) })).text;
  const seven = await draw(7);
  expect(await draw(7)).toBe(seven);
  expect(await draw(8)).not.toBe(seven);
  const after = await draw();
  await draw(7);
  expect(await draw()).not.toBe(after);
});

test("what is not asked for is as the model's own settings have it", async () => {
  // Of two letters that come first, the one is as likely as the other.
  const two: Next = () => LETTERS.map((_, at) => (at < 2 ? 5 : at === END ? -9 : 4));
  const letters = async (config: object, settings: MessageInitShape<typeof GenerationSchema>) =>
    new Set((await make(open(two, config), { seed: 1, maxNewTokens: 200, ...settings })).text);
  expect(await letters({}, {})).toEqual(new Set(["a"]));
  expect(await letters({ do_sample: true, top_k: 2 }, {})).toEqual(new Set(["a", "b"]));
  expect((await letters({ do_sample: true, top_k: 2 }, { topK: 30 })).size).toBeGreaterThan(10);
  expect(await letters({ do_sample: true, top_k: 2 }, { doSample: false })).toEqual(new Set(["a"]));
  expect(await letters({ do_sample: true, temperature: 0 }, {})).toEqual(new Set(["a"]));
  expect(await letters({}, { doSample: true, topK: 30, topP: 0.1 })).toEqual(new Set(["a", "b"]));
  // A temperature that is low leaves the likeliest.
  expect(await letters({}, { doSample: true, topK: 30, temperature: 0.05 })).toEqual(new Set(["a", "b"]));
});

test("what was there before may be made less likely, or not come again", async () => {
  const flat: Next = () => LETTERS.map((_, at) => (at === END ? -9 : 5 - at / 100));
  const { text } = await make(open(flat), { maxNewTokens: 5, repetitionPenalty: 2 });
  expect(text).toBe("bcdef");
  const { text: pairs } = await make(open(flat), { maxNewTokens: 6, noRepeatNgramSize: 1 });
  expect(new Set(pairs).size).toBe(6);
});

test("a call that is cancelled makes no more tokens", async () => {
  const model = open(alphabet);
  const cancelled = new Failure(FailureKind.CANCELLED, "cancelled");
  const pause = vi
    .fn<() => Promise<void>>()
    .mockResolvedValueOnce()
    .mockResolvedValueOnce()
    .mockRejectedValue(cancelled);
  await expect(make(model, {}, { pause })).rejects.toBe(cancelled);
  expect(model.run).toHaveBeenCalledTimes(2);
  expect((await make(model, { maxNewTokens: 2 })).text).toBe("bc");
});

test("a session that fails is told in its own words, and the next call makes its text", async () => {
  const model = open(alphabet);
  model.run.mockRejectedValueOnce(new Error("ERROR_CODE: 6"));
  await expect(make(model)).rejects.toThrow("ERROR_CODE: 6");
  expect((await make(model, { maxNewTokens: 2 })).text).toBe("bc");
});

test("logits that are not finite make no text", async () => {
  const model = open(() => LETTERS.map(() => NaN));
  await expect(make(model)).rejects.toMatchObject({ kind: FailureKind.BAD_OUTPUT });
});
