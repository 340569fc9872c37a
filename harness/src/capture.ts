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
import { describe, Failure } from "./failure";
import { areSame, shapesOf, type Sizes, sizesOf } from "./feeds";
import { FailureKind } from "./gen/webinfer/bridge/v1/bridge_pb";

type Feeds = Record<string, ort.Tensor>;
type Outputs = Record<string, ort.Tensor>;
type Run = (feeds: Feeds, fetches: Outputs | readonly string[], options: object) => Promise<Outputs>;
type Create = typeof ort.InferenceSession.create;
type Options = ort.InferenceSession.SessionOptions;
type OnGpu = ort.Tensor.GpuBufferDataTypes;

/** Shapes of a session that are recorded at most. Nothing but the session's end gives a recording back. */
const MOST_SHAPES = 64;
/** Shapes that came once, of which the next is worth a recording. */
const MOST_SEEN = 256;
/** The id by which a run asks not to be recorded. */
const NOT_RECORDED = "-1";
/** How the runtime says that a graph cannot be recorded: a part of it runs on the CPU, or has no fixed order. */
const REFUSED = /cannot use the graph capture feature/;

/** What a shape's runs need: the buffers that its recording has, and where the outputs are read. */
interface Recording {
  id: string;
  run: Run;
  inputs: Map<string, GPUBuffer>;
  feeds: Feeds;
  outputs: Output[];
  fetches: Outputs;
  staging: GPUBuffer;
}

/** An output, as the run before the recording made it. */
interface Output {
  name: string;
  buffer: GPUBuffer;
  like: ort.Tensor;
  /** Where it begins in the buffer that is read. */
  offset: number;
}

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
/** Bytes of a tensor; 0 where it is not on the CPU, or has no plain numbers. */
function bytesOf(tensor: ort.Tensor): number {
  return tensor.location === "cpu" && ArrayBuffer.isView(tensor.data) ? tensor.data.byteLength : 0;
}

/** The GPU copies whole words. */
function isWhole(tensor: ort.Tensor): boolean {
  const bytes = bytesOf(tensor);
  return bytes > 0 && bytes % 4 === 0;
}

/** Sizes, axes and the like have one dimension or none. The CPU reads them, which a replay does not do again. */
function isData(tensor: ort.Tensor): boolean {
  return isWhole(tensor) && tensor.dims.length > 1;
}

/** The same numbers in another order. */
function reversed(feeds: Feeds): Feeds {
  const turned = Object.entries(feeds).map(([name, { type, data, dims }]) => {
    return [name, new ort.Tensor(type as "float32", (data as Float32Array).slice().reverse(), dims)];
  });
  return Object.fromEntries(turned);
}

/** Counts the bytes of the buffers that there are on a device. The runtime makes its own in the same way. */
function countBytes(device: GPUDevice): () => number {
  let bytes = 0;
  const make = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = make(descriptor);
    let held = descriptor.size;
    bytes += held;
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      bytes -= held;
      held = 0;
      destroy();
    };
    return buffer;
  };
  return () => bytes;
}

/** Records the sessions of a worker, within so many bytes of the GPU's memory. */
export class Captures implements Shapes {
  readonly #mostBytes: number;
  readonly #pooling: Uint8Array;
  readonly #onReplay: (shape: readonly number[]) => void;
  readonly #sessions = new Map<ort.InferenceSession, Session>();
  #bytes = 0;
  #failure: Failure | undefined;
  #device: { device: GPUDevice; made: () => number } | undefined;

  /** `pooling` is what is appended to a graph of token vectors; empty where that is none. */
  constructor(mostBytes: number, pooling: Uint8Array, onReplay: (shape: readonly number[]) => void) {
    [this.#mostBytes, this.#pooling, this.#onReplay] = [mostBytes, pooling, onReplay];
  }

  /** Has each session recorded that this realm creates from now on, the library's own too. */
  watch(): void {
    const create = ort.InferenceSession.create.bind(ort.InferenceSession) as Create;
    const recorded = async (file: Uint8Array, options: Options): Promise<ort.InferenceSession> => {
      const model = joined(file, this.#pooling);
      const open = (fixed: Sizes = {}) => create(model, whileSetUp({ ...options, freeDimensionOverrides: fixed }));
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
        const kind = error instanceof GPUOutOfMemoryError ? FailureKind.OUT_OF_MEMORY : FailureKind.RUNTIME;
        this.#failure ??= new Failure(kind, `the GPU refused a command: ${error.message}`, true);
      });
    }
    const { device, made } = this.#device;
    const account = {
      check: () => {
        if (this.#failure) throw this.#failure;
      },
      hasRoom: (bytes: number) => this.#bytes + bytes <= this.#mostBytes,
      during: async (work: () => Promise<void>) => {
        const before = made();
        try {
          await work();
        } finally {
          this.#bytes += made() - before;
        }
        return made() - before;
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
  /** Counts what is made meanwhile, and tells it. */
  during(work: () => Promise<void>): Promise<number>;
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

class Session implements Shaped {
  readonly #session: ort.InferenceSession;
  readonly #run: Run;
  readonly #ground: Ground;
  /** Whether each shape needs a session of its own. */
  readonly isFixed: boolean;
  /** By the shapes of the inputs; nothing where a shape cannot be recorded. */
  readonly #recordings = new Map<string, Recording | undefined>();
  readonly #seen = new Set<string>();

  /** Bytes of the last shape. */
  #last = 0;

  constructor(session: ort.InferenceSession, ground: Ground) {
    [this.#session, this.#ground, this.isFixed] = [session, ground, ground.open !== undefined];
    this.#run = session.run.bind(session) as Run;
    session.run = ((feeds: Feeds) => this.run(feeds)) as typeof session.run;
  }

  hasRoom(feeds: Feeds): boolean {
    const key = shapesOf(feeds);
    if (this.#recordings.has(key)) return this.#recordings.get(key) !== undefined;
    if (this.isFixed && !this.#ground.open) return false;
    return this.#recordings.size < MOST_SHAPES && this.#ground.account.hasRoom(this.#last);
  }

  settle(): void {
    this.#ground.open = undefined;
  }

  /** The first run of a shape tells what its outputs are, the second is recorded, and the others replay it. */
  async run(feeds: Feeds): Promise<Outputs> {
    const key = shapesOf(feeds);
    const recording = this.#recordings.get(key);
    if (recording) {
      this.#ground.onReplay(Object.values(feeds)[0]!.dims);
      return this.#replay(recording, feeds);
    }
    const outputs = await this.#run(feeds, this.#ground.outputs, { extra: { gpu_graph_id: NOT_RECORDED } });
    this.#ground.account.check();
    if (this.#recordings.has(key) || !this.hasRoom(feeds)) return outputs;
    if (this.#seen.delete(key)) {
      this.#last = await this.#ground.account.during(() => this.#make(key, feeds, outputs));
    } else {
      if (this.#seen.size >= MOST_SEEN) this.#seen.clear();
      this.#seen.add(key);
    }
    return outputs;
  }

  /** Records a shape. Where that fails it runs on as it did. */
  async #make(key: string, feeds: Feeds, outputs: Outputs): Promise<void> {
    this.#recordings.set(key, undefined);
    const others = reversed(feeds);
    if (!Object.values(feeds).every(isData) || !Object.values(outputs).every(isWhole)) return;
    let [own, recording]: [ort.InferenceSession?, Recording?] = [];
    try {
      own = await this.#ground.open?.(sizesOf(this.#session, feeds));
      recording = this.#lay(feeds, outputs, own ? (own.run.bind(own) as Run) : this.#run);
      await this.#start(recording, feeds);
      // The runtime records what is computed, and not what is only copied, so that an output may stay as it was. It takes other
      // numbers to see that.
      const right = await this.#run(others, this.#ground.outputs, { extra: { gpu_graph_id: NOT_RECORDED } });
      const replayed = await this.#replay(recording, others);
      for (const { name, like } of recording.outputs) {
        if (areSame(right[name]!, like)) throw new Error(`${name} does not tell inputs apart`);
        if (!areSame(replayed[name]!, right[name]!)) throw new Error(`${name} comes to something else in a replay`);
      }
      this.#recordings.set(key, recording);
    } catch (error) {
      if (recording) giveBack(recording);
      await own?.release().catch(() => {});
      console.warn(`the GPU commands of the shape ${key} are not recorded: ${describe(error)}`);
    }
  }

  #lay(feeds: Feeds, outputs: Outputs, run: Run): Recording {
    const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const buffer = (size: number, usage: number) => this.#ground.device.createBuffer({ size, usage });
    const onGpu = (tensor: ort.Tensor, gpu: GPUBuffer) =>
      ort.Tensor.fromGpuBuffer(gpu, { dataType: tensor.type as OnGpu, dims: tensor.dims });
    const inputs = new Map<string, GPUBuffer>();
    const recording: Recording = {
      id: String(this.#recordings.size),
      run,
      inputs,
      feeds: {},
      outputs: [],
      fetches: {},
      staging: buffer(
        Object.values(outputs).reduce((sum, tensor) => sum + bytesOf(tensor), 0),
        COPY_DST | MAP_READ,
      ),
    };
    for (const [name, tensor] of Object.entries(feeds)) {
      const input = buffer(bytesOf(tensor), STORAGE | COPY_SRC | COPY_DST);
      inputs.set(name, input);
      recording.feeds[name] = onGpu(tensor, input);
    }
    let offset = 0;
    for (const [name, like] of Object.entries(outputs)) {
      const output = buffer(bytesOf(like), STORAGE | COPY_SRC | COPY_DST);
      recording.outputs.push({ name, buffer: output, like, offset });
      recording.fetches[name] = onGpu(like, output);
      offset += bytesOf(like);
    }
    return recording;
  }

  /** Records, or replays what was recorded under the id. */
  async #start({ id, run, inputs, feeds, fetches }: Recording, given: Feeds): Promise<void> {
    for (const [name, buffer] of inputs) {
      this.#ground.device.queue.writeBuffer(buffer, 0, given[name]!.data as Float32Array<ArrayBuffer>);
    }
    await run(feeds, fetches, { extra: { gpu_graph_id: id } });
  }

  async #replay(recording: Recording, feeds: Feeds): Promise<Outputs> {
    await this.#start(recording, feeds);
    const { outputs, staging } = recording;
    const encoder = this.#ground.device.createCommandEncoder();
    for (const { buffer, offset } of outputs) encoder.copyBufferToBuffer(buffer, 0, staging, offset, buffer.size);
    this.#ground.device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const bytes = staging.getMappedRange().slice(0);
    staging.unmap();
    this.#ground.account.check();
    const made: Outputs = {};
    for (const { name, like, offset } of outputs) {
      const Numbers = like.data.constructor as Float32ArrayConstructor;
      const values = new Numbers(bytes, offset, (like.data as Float32Array).length);
      made[name] = new ort.Tensor(like.type as "float32", values, like.dims);
    }
    return made;
  }
}

/** Lets the GPU have the memory of a recording's inputs and outputs again. */
function giveBack({ inputs, outputs, staging }: Recording): void {
  for (const buffer of inputs.values()) buffer.destroy();
  for (const { buffer } of outputs) buffer.destroy();
  staging.destroy();
}
