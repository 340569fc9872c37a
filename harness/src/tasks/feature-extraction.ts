/** Feature extraction: a text becomes a vector. The same steps as the library's own pipeline, timed apart. */
import { create } from "@bufbuild/protobuf";
import { AutoModel, AutoTokenizer, type DataType, type Tensor } from "@huggingface/transformers";
import { FailureKind } from "../gen/webinfer/bridge/v1/bridge_pb";
import { EmbeddingSchema, type Item, type ItemResult, ItemResultSchema } from "../gen/webinfer/v1/inference_pb";
import { Pooling } from "../gen/webinfer/v1/model_pb";
import { badInput, each, Failure, type Settled } from "../failure";
import { firstToken, type Floats, meanPool, normalizeRows } from "../pooling";
import type { OpenTask, Task } from "./task";

type Inputs = { input_ids: Tensor; attention_mask: Tensor };
type Outputs = Partial<Record<"last_hidden_state" | "logits" | "token_embeddings", Tensor>>;

/** The texts of the items, and the tensors of those that are texts. */
interface Prepared {
  texts: Settled<string>[];
  inputs: Inputs;
}

const WARM_UP_TEXT = "A replica runs once before it serves.";
/** One text alone, and texts together: the two have kernels of their own. */
const WARM_UP_BATCHES = [1, 2];

export async function openFeatureExtraction({
  base,
  spec,
  device,
  externalData,
  logSeverityLevel,
}: OpenTask): Promise<Task<Prepared, Outputs>> {
  // A name that begins with a slash is a path on the page's own origin to the library.
  const name = base.replace(/\/$/, "");
  const [tokenizer, model] = await Promise.all([
    AutoTokenizer.from_pretrained(name),
    AutoModel.from_pretrained(name, {
      device,
      dtype: spec.dtype as DataType,
      session_options: { externalData, logSeverityLevel },
    }),
  ]);
  const tokenize = (texts: string[]): Inputs => tokenizer(texts, { padding: true, truncation: true });
  return {
    async warmUp() {
      for (const count of WARM_UP_BATCHES) await model(tokenize(Array<string>(count).fill(WARM_UP_TEXT)));
    },
    preprocess(items) {
      const texts = each(items, textOf);
      const good = texts.filter((text) => typeof text === "string");
      // Where none is left to run, the call fails as a whole.
      if (good.length === 0) throw texts[0];
      return { texts, inputs: tokenize(good) };
    },
    infer: ({ inputs }) => model(inputs),
    postprocess(outputs, { texts, inputs }) {
      const tokens = tokenVectors(outputs);
      const dims = tokens.dims as [number, number, number];
      const hidden = tokens.data as Floats;
      const cls = spec.pooling === Pooling.CLS;
      const vectors = cls
        ? firstToken(hidden, dims)
        : meanPool(hidden, inputs.attention_mask.data as BigInt64Array, dims);
      const size = dims[2];
      if (!spec.unnormalized) normalizeRows(vectors, size);
      const wide = vectors instanceof Float32Array ? vectors : Float32Array.from(vectors);
      let begin = 0;
      return each(texts, () => toResult(wide.subarray(begin, (begin += size))));
    },
    tokens: ({ inputs }) => inputs.input_ids.size,
  };
}

function textOf({ input }: Item): string {
  if (input.case !== "text") throw badInput(`expected a text, got ${input.case ?? "nothing"}`);
  return input.value;
}

/** The output that the library's pipeline takes. */
function tokenVectors(outputs: Outputs): Tensor {
  const tokens = outputs.last_hidden_state ?? outputs.logits ?? outputs.token_embeddings;
  if (tokens?.dims.length === 3) return tokens;
  throw new Error(`the model has no output of token vectors, only ${Object.keys(outputs).join(", ")}`);
}

function toResult(vector: Float32Array): ItemResult {
  check(vector);
  // The message wants a plain array; the encoder takes this one as it is.
  const values = vector as unknown as number[];
  return create(ItemResultSchema, { output: { case: "embedding", value: create(EmbeddingSchema, { values }) } });
}

/** Refuses a vector that no model means: one with NaN or infinity in it, or of nothing but zeros. */
function check(vector: Float32Array): void {
  let sum = 0;
  for (const value of vector) sum += Math.abs(value);
  if (sum > 0 && sum < Infinity) return;
  throw new Failure(FailureKind.BAD_OUTPUT, `the vector ${sum === 0 ? "is all zero" : "is not finite"}`);
}
