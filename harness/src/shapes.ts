/**
 * Shapes: on WebNN, sessions that are made for one shape of the inputs each.
 *
 * A graph of WebNN has sizes that are known when it is built (W3C Web Neural Network API). Where they are free, the runtime
 * hands the browser what does not depend on them, and computes the rest on the CPU itself, with a copy from one to the other each
 * time. With sizes that are fixed the browser gets all of it. Each such session has weights of its own.
 */
import * as ort from "onnxruntime-web/webgpu";
import type { Shaped, Shapes } from "./buckets";
import { alone } from "./failure";
import { areSame, shapesOf, type Sizes, sizesOf } from "./feeds";
import type { NodePlacement } from "./gen/webinfer/v1/execution_pb";
import type { Placements } from "./placement";

type Feeds = Record<string, ort.Tensor>;
type Outputs = Record<string, ort.Tensor>;
type Run = (feeds: Feeds) => Promise<Outputs>;
type Create = typeof ort.InferenceSession.create;
type Options = ort.InferenceSession.SessionOptions;

/** Shapes of a session that get one of their own at most. */
const MOST_SHAPES = 64;
/** Memory of a session, by the bytes of its weights: these, and what the browser makes of them. Measured: 1.7. */
const COPIES = 2;

/** A session for one shape, and where the runtime put its nodes. */
interface Fixed {
  run: Run;
  placements: NodePlacement[];
  /** Gives it back. */
  end(): Promise<void>;
}

/** Makes sessions for shapes, within so many bytes of memory. */
export class FixedShapes implements Shapes {
  readonly #mostBytes: number;
  readonly #placements: Placements;
  readonly #onRun: (shape: readonly number[], placements: NodePlacement[]) => void;
  readonly #sessions = new Map<ort.InferenceSession, Session>();
  #bytes = 0;

  /** `onRun` is told which shape ran, and where. */
  constructor(
    mostBytes: number,
    placements: Placements,
    onRun: (shape: readonly number[], placements: NodePlacement[]) => void,
  ) {
    [this.#mostBytes, this.#placements, this.#onRun] = [mostBytes, placements, onRun];
  }

  /**
   * Has each session of a model that this realm creates from now on get others beside it, for shapes. The library's own small
   * graphs, such as that which finds the greatest numbers, name no provider.
   */
  watch(): void {
    const create = ort.InferenceSession.create.bind(ort.InferenceSession) as Create;
    const shaped = async (file: Uint8Array, options: Options): Promise<ort.InferenceSession> => {
      if (!options.executionProviders) return create(file, options);
      const session = await create(file, options);
      const bytes = COPIES * weightsOf(file, options);
      const open = async (fixed: Sizes): Promise<Fixed> => {
        const freeDimensionOverrides = { ...options.freeDimensionOverrides, ...fixed };
        const make = () => create(file, { ...options, freeDimensionOverrides });
        const [own, placements] = await this.#placements.apart(make);
        this.#bytes += bytes;
        const end = async () => {
          this.#bytes -= bytes;
          await own.release();
        };
        return { run: own.run.bind(own) as Run, placements, end };
      };
      const hasRoom = () => this.#bytes + bytes <= this.#mostBytes;
      this.#sessions.set(session, new Session(session, { open, hasRoom, onRun: this.#onRun }));
      return session;
    };
    ort.InferenceSession.create = shaped as Create;
  }

  of(session: ort.InferenceSession): Shaped | undefined {
    return this.#sessions.get(session);
  }

  settle(): void {
    for (const session of this.#sessions.values()) session.settle();
  }
}

/** Bytes of a graph with its weights; of weights that the runtime reads itself that is not known. */
function weightsOf(file: Uint8Array, { externalData = [] }: Options): number {
  return externalData.reduce((bytes, weights) => {
    const data = typeof weights === "object" && "data" in weights ? weights.data : weights;
    return bytes + (data instanceof Uint8Array ? data.byteLength : Infinity);
  }, file.byteLength);
}

/** What a session makes others with. */
interface Ground {
  open: (fixed: Sizes) => Promise<Fixed>;
  hasRoom: () => boolean;
  onRun: (shape: readonly number[], placements: NodePlacement[]) => void;
}

class Session implements Shaped {
  readonly isFixed = true;
  readonly #session: ort.InferenceSession;
  readonly #run: Run;
  /** Nothing once there will be no further ones. */
  #ground: Ground | undefined;
  readonly #onRun: Ground["onRun"];
  /** By the shapes of the inputs; nothing where one could not be made, or came to something else. */
  readonly #made = new Map<string, Fixed | undefined>();
  readonly #seen = new Set<string>();

  constructor(session: ort.InferenceSession, ground: Ground) {
    [this.#session, this.#ground, this.#onRun] = [session, ground, ground.onRun];
    this.#run = session.run.bind(session) as Run;
    session.run = ((feeds: Feeds) => this.run(feeds)) as typeof session.run;
  }

  hasRoom(feeds: Feeds): boolean {
    const key = shapesOf(feeds);
    if (this.#made.has(key)) return this.#made.get(key) !== undefined;
    return this.#made.size < MOST_SHAPES && (this.#ground?.hasRoom() ?? false);
  }

  settle(): void {
    this.#ground = undefined;
  }

  /** A shape that comes twice before it is settled gets a session: one that comes once may be no bucket's. */
  async run(feeds: Feeds): Promise<Outputs> {
    const key = shapesOf(feeds);
    const fixed = this.#made.get(key);
    if (fixed) {
      const outputs = await fixed.run(feeds);
      this.#onRun(Object.values(feeds)[0]!.dims, fixed.placements);
      return outputs;
    }
    const outputs = await this.#run(feeds);
    if (!this.#ground || this.#made.has(key) || !this.hasRoom(feeds)) return outputs;
    if (this.#seen.delete(key)) await this.#make(this.#ground, key, feeds, outputs);
    else this.#seen.add(key);
    return outputs;
  }

  /** Makes the session of a shape, where it comes to the same. Where that fails the shape runs on as it did. */
  async #make({ open }: Ground, key: string, feeds: Feeds, outputs: Outputs): Promise<void> {
    this.#made.set(key, undefined);
    let fixed: Fixed | undefined;
    try {
      fixed = await open(sizesOf(this.#session, feeds));
      const made = await fixed.run(feeds);
      for (const [name, right] of Object.entries(outputs)) {
        if (!areSame(made[name]!, right)) throw new Error(`${name} comes to something else`);
      }
      this.#made.set(key, fixed);
    } catch (error) {
      await fixed?.end().catch(() => {});
      const { message } = alone(error);
      console.warn(`the shape ${key} gets no session of its own: ${message}`);
    }
  }
}
