/**
 * Capture: what a session has the GPU do, recorded once for each shape of its inputs and replayed from then on.
 *
 * A run of the runtime makes some hundred commands anew, which takes a fast GPU longer than to carry them out. It can record
 * them (its "graph capture") where the whole graph runs on the GPU, and where inputs and outputs lie in the same buffers each
 * time. One session holds several recordings under ids of their own, so that all shapes share the weights. A graph that works
 * out sizes on the CPU is another matter: with sizes that are fixed there is nothing to work out, so each of some shapes gets a
 * session of its own, with weights of its own.
 */
import * as ort from "onnxruntime-web/webgpu";
import type { Shaped, Shapes } from "./buckets";
import { alone, describe, type Failure } from "./failure";
import { areSame, changed, isData, isWhole, shapesOf, type Sizes, sizesOf } from "./feeds";
import { FailureKind } from "./gen/webinfer/bridge/v1/bridge_pb";
import { Recording, type Run } from "./recording";
import { countBytes, Need, refused, withinMemory } from "./room";

type Feeds = Record<string, ort.Tensor>;
type Outputs = Record<string, ort.Tensor>;
type Create = typeof ort.InferenceSession.create;
type Options = ort.InferenceSession.SessionOptions;

/** Shapes of a session that are recorded at most. Nothing but the session's end gives a recording back. */
const MOST_SHAPES = 64;
/** Shapes that came and are not settled, of which the next is worth a recording. */
const MOST_SEEN = 256;
/** Inputs of a shape that are tried, where none before them shows whether a replay is right. */
const MOST_TRIES = 3;
/** The id by which a run asks not to be recorded. */
const NOT_RECORDED = "-1";
/** How the runtime says that a graph cannot be recorded: a part of it runs on the CPU, or has no fixed order. */
const REFUSED = /cannot use the graph capture feature/;

/** Of messages of one kind that follow one another protobuf makes one: nodes behind a graph are more nodes of it. */
function joined(file: Uint8Array, more: Uint8Array): Uint8Array {
  if (more.length === 0) return file;
  const both = new Uint8Array(file.length + more.length);
  both.set(file);
  both.set(more, file.length);
  return both;
}

/** The output that the service's pooling has. */
export const VECTOR = "webinfer.vector";

/** Records the sessions of a worker, within so many bytes of the GPU's memory. */
export class Captures implements Shapes {
  readonly #mostBytes: number;
  readonly #pooling: Uint8Array;
  readonly #onReplay: (shape: readonly number[]) => void;
  readonly #sessions = new Map<ort.InferenceSession, Session>();
  #bytes = 0;
  /** Whether the GPU lacked memory for a recording. What the runtime had got for it is not given back. */
  #isFull = false;
  #failure: Failure | undefined;
  #device: { device: GPUDevice; made: () => number } | undefined;

  /** `pooling` is what is appended to a graph of token vectors; empty where that is none. */
  constructor(mostBytes: number, pooling: Uint8Array, onReplay: (shape: readonly number[]) => void) {
    [this.#mostBytes, this.#pooling, this.#onReplay] = [mostBytes, pooling, onReplay];
  }

  /**
   * Has each session of a model recorded that this realm creates from now on. The library's own small graphs, such as that
   * which finds the greatest numbers, name no provider.
   */
  watch(): void {
    const create = ort.InferenceSession.create.bind(ort.InferenceSession) as Create;
    const recorded = async (file: Uint8Array, options: Options): Promise<ort.InferenceSession> => {
      if (!options.executionProviders) return create(file, options);
      const model = joined(file, this.#pooling);
      const open = (fixed: Sizes = {}) => {
        const freeDimensionOverrides = { ...options.freeDimensionOverrides, ...fixed };
        return create(model, whileSetUp({ ...options, freeDimensionOverrides }));
      };
      try {
        const session = await open();
        await this.#record(session);
        return session;
      } catch (error) {
        if (!REFUSED.test(describe(error))) throw error;
        const session = await create(model, options);
        await this.#record(session, open);
        return session;
      }
    };
    ort.InferenceSession.create = recorded as Create;
  }

  of(session: ort.InferenceSession): Shaped | undefined {
    return this.#sessions.get(session);
  }

  settle(): void {
    for (const session of this.#sessions.values()) session.settle();
  }

  #outputs({ outputNames }: ort.InferenceSession): readonly string[] {
    return outputNames.includes(VECTOR) ? [VECTOR] : outputNames;
  }

  async #record(session: ort.InferenceSession, open?: OpenFixed): Promise<void> {
    if (!this.#device) {
      const device = await ort.env.webgpu.device;
      this.#device = { device, made: countBytes(device) };
      // The runtime does not ask after each run what went wrong: that would be a round trip.
      device.addEventListener("uncapturederror", ({ error }) => {
        this.#failure ??= refused(error);
      });
    }
    const { device, made } = this.#device;
    const account = {
      check: () => {
        if (this.#failure) throw this.#failure;
      },
      hasRoom: (bytes: number) => !this.#isFull && this.#bytes + bytes <= this.#mostBytes,
      fill: () => {
        this.#isFull = true;
      },
      made,
      during: async (work: () => Promise<void>) => {
        const before = made();
        try {
          await work();
        } finally {
          this.#bytes += made() - before;
        }
      },
    };
    this.#sessions.set(
      session,
      new Session(session, { device, account, open, outputs: this.#outputs(session), onReplay: this.#onReplay }),
    );
  }
}

/**
 * Session options that have the GPU's part of the runtime record, and its JavaScript not know of it.
 *
 * That part keeps a recording for each id. The JavaScript binds the buffers of the first run for good, which would leave one
 * shape to a session. It sets that part up first, then reads `externalData`, and looks at the option again after that.
 */
function whileSetUp(options: Options): Options {
  let on = true;
  const executionProviders = options.executionProviders?.map((provider) =>
    provider === "webgpu" ? { name: "webgpu" as const, validationMode: "disabled" as const } : provider,
  );
  return Object.defineProperties({ ...options, executionProviders } as Options, {
    enableGraphCapture: { get: () => on },
    externalData: {
      get: () => {
        on = false;
        return options.externalData;
      },
    },
  });
}

/** What the recordings of all sessions have of the GPU's memory. */
interface Account {
  /** Throws where the GPU refused what it was asked. */
  check(): void;
  hasRoom(bytes: number): boolean;
  /** Has there be no room for any other. */
  fill(): void;
  /** Bytes that there are now. */
  made(): number;
  /** Counts what is made meanwhile, and kept. */
  during(work: () => Promise<void>): Promise<void>;
}

type OpenFixed = (fixed: Sizes) => Promise<ort.InferenceSession>;

/** What a session records with. */
interface Ground {
  /** Those that are wanted. */
  outputs: readonly string[];
  device: GPUDevice;
  account: Account;
  onReplay: (shape: readonly number[]) => void;
  /** Makes the session of a shape; there where the session itself cannot record. */
  open: OpenFixed | undefined;
}

/** What a recording is made of, as far as it has come. */
interface Made {
  /** The shape's own session, where it needs one. */
  own?: ort.InferenceSession | undefined;
  recording?: Recording;
  /** Whether the inputs show what a replay would get wrong. */
  tells?: boolean;
}

class Session implements Shaped {
  readonly #session: ort.InferenceSession;
  readonly #run: Run;
  readonly #ground: Ground;
  /** Whether each shape needs a session of its own. */
  readonly isFixed: boolean;
  /** By the shapes of the inputs; nothing where a shape cannot be recorded. */
  readonly #recordings = new Map<string, Recording | undefined>();
  /** How often shapes came of which that is not known. */
  readonly #seen = new Map<string, number>();
  readonly #need = new Need();
  /** How many recordings there were: each has an id of its own, also after one that failed. */
  #begun = 0;

  constructor(session: ort.InferenceSession, ground: Ground) {
    [this.#session, this.#ground, this.isFixed] = [session, ground, ground.open !== undefined];
    this.#run = session.run.bind(session) as Run;
    session.run = ((feeds: Feeds) => this.run(feeds)) as typeof session.run;
  }

  hasRoom(feeds: Feeds): boolean {
    const key = shapesOf(feeds);
    if (this.#recordings.has(key)) return this.#recordings.get(key) !== undefined;
    if (this.isFixed && !this.#ground.open) return false;
    return this.#recordings.size < MOST_SHAPES && this.#ground.account.hasRoom(this.#need.of(feeds));
  }

  settle(): void {
    this.#ground.open = undefined;
  }

  /** The first run of a shape tells what its outputs are, the second is recorded, and the others replay it. */
  async run(feeds: Feeds): Promise<Outputs> {
    const { account, onReplay } = this.#ground;
    const key = shapesOf(feeds);
    const recording = this.#recordings.get(key);
    if (recording) {
      onReplay(Object.values(feeds)[0]!.dims);
      const outputs = await recording.replay(feeds);
      account.check();
      return outputs;
    }
    const outputs = await this.#unrecorded(feeds);
    account.check();
    if (this.#recordings.has(key) || !this.hasRoom(feeds)) return outputs;
    const times = (this.#seen.get(key) ?? 0) + 1;
    if (this.#seen.size >= MOST_SEEN) this.#seen.clear();
    this.#seen.set(key, times);
    // Those with sessions of their own come no more once the warm-up is over.
    const isLast = this.isFixed || times > MOST_TRIES;
    if (times > 1) await account.during(() => this.#make(key, feeds, outputs, isLast));
    if (this.#recordings.has(key)) this.#seen.delete(key);
    return outputs;
  }

  #unrecorded(feeds: Feeds): Promise<Outputs> {
    return this.#run(feeds, this.#ground.outputs, { extra: { gpu_graph_id: NOT_RECORDED } });
  }

  /** Records a shape. Where that fails it runs on as it did, or is tried again if it was for the inputs and not the last try. */
  async #make(key: string, feeds: Feeds, outputs: Outputs, isLast: boolean): Promise<void> {
    if (!Object.values(feeds).every(isData) || !Object.values(outputs).every(isWhole)) {
      this.#recordings.set(key, undefined);
      return;
    }
    const made: Made = {};
    try {
      await withinMemory(this.#ground.device, () => this.#record(made, feeds, outputs));
      this.#recordings.set(key, made.recording);
    } catch (error) {
      made.recording?.giveBack();
      await made.own?.release().catch(() => {});
      const { kind, message } = alone(error);
      if (kind === FailureKind.OUT_OF_MEMORY) this.#ground.account.fill();
      if (made.tells === false && !isLast) return;
      this.#recordings.set(key, undefined);
      console.warn(`the GPU commands of the shape ${key} are not recorded: ${message}`);
    }
  }

  async #record(made: Made, feeds: Feeds, outputs: Outputs): Promise<void> {
    const { device, account, open } = this.#ground;
    // The runtime records what is computed, and not what is only copied, so that an output may stay as it was. It takes other
    // numbers to see that.
    const others = changed(feeds);
    const right = await this.#unrecorded(others);
    const silent = Object.keys(outputs).find((name) => areSame(right[name]!, outputs[name]!));
    made.tells = silent === undefined;
    if (!made.tells) throw new Error(`${silent} does not tell inputs apart`);
    const before = account.made();
    const own = (made.own = await open?.(sizesOf(this.#session, feeds)));
    const opened = account.made();
    const run = own ? (own.run.bind(own) as Run) : this.#run;
    const recording = (made.recording = new Recording(device, String(++this.#begun), run));
    recording.lay(feeds, outputs);
    await recording.start(feeds);
    const replayed = await recording.replay(others);
    account.check();
    this.#need.measured(feeds, opened - before, account.made() - opened);
    for (const name of Object.keys(outputs)) {
      if (!areSame(replayed[name]!, right[name]!)) throw new Error(`${name} comes to something else in a replay`);
    }
  }
}
