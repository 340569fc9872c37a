/** Lever: what a bench changes of the sessions that the runner opens, from outside it. */
import * as ort from "onnxruntime-web/webgpu";

export interface Lever {
  /** Options of a session, over the runner's own. */
  session?: ort.InferenceSession.SessionOptions;
  /** The items and tokens that each run is padded to. */
  shape?: [items: number, tokens: number];
}

type Create = (graph: Uint8Array, options: object) => Promise<ort.InferenceSession>;
type Feed = Record<string, ort.Tensor>;

/** Has all sessions of this realm opened so from now on. */
export function pull({ session: options, shape }: Lever): void {
  const create = ort.InferenceSession.create.bind(ort.InferenceSession) as Create;
  const changed: Create = async (graph, given) => {
    const session = await create(graph, { ...given, ...options });
    // The runner's first session, of one node, takes no tokens.
    if (shape && session.inputNames.includes("input_ids")) pad(session, shape);
    return session;
  };
  ort.InferenceSession.create = changed as typeof ort.InferenceSession.create;
}

/** Pads what goes in with zeros, which the mask leaves out, and cuts what comes out back to what was asked for. */
function pad(session: ort.InferenceSession, [most, wide]: [number, number]): void {
  const run = session.run.bind(session) as (feed: Feed) => Promise<Feed>;
  const padded = async (feed: Feed) => {
    const [items = 0, tokens = 0] = feed.input_ids!.dims;
    if (tokens > wide) throw new Error(`${tokens} tokens are more than ${wide}`);
    const all: Feed = {};
    // The runner warms up with two items, and the shape may have one.
    for (let at = 0; at < items; at += most) {
      const rows = Math.min(most, items - at);
      const part = Object.entries(feed).map(([name, { data }]) => {
        const padded = new BigInt64Array(most * wide);
        copyRows((data as BigInt64Array).subarray(at * tokens), tokens, padded, wide, rows);
        return [name, new ort.Tensor("int64", padded, [most, wide])] as const;
      });
      for (const [name, { data, dims }] of Object.entries(await run(Object.fromEntries(part)))) {
        const size = dims[2] ?? 1;
        all[name] ??= new ort.Tensor("float32", new Float32Array(items * tokens * size), [items, tokens, size]);
        const cut = (all[name].data as Float32Array).subarray(at * tokens * size);
        copyRows(data as Float32Array, wide * size, cut, tokens * size, rows);
      }
    }
    return all;
  };
  session.run = padded as typeof session.run;
}

/** Copies the beginnings of rows to rows of another length. */
function copyRows<T extends BigInt64Array | Float32Array>(from: T, width: number, to: T, wide: number, rows: number) {
  const both = Math.min(width, wide);
  for (let row = 0; row < rows; row++) to.set(from.subarray(row * width, row * width + both) as never, row * wide);
}
