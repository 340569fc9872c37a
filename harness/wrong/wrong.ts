/**
 * Wrong: a replica whose outputs are perturbed. The model's id says how: `NAME.WAY.AFTER.BACKEND` answers rightly AFTER times
 * and then wrongly, on that backend alone; any other id is served rightly.
 */
import type { Replica, Tell } from "../src/dispatch";
import type {
  EndProfile,
  Load,
  Loaded,
  LoadProgress,
  Profiled,
  Ran,
  RunItem,
} from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { Backend } from "../src/gen/webinfer/v1/execution_pb";
import type { Pause } from "../src/turn";

/** What a broken kernel may do to a vector. */
const WAYS: Record<string, (values: number[], last: number[]) => number[]> = {
  sign: (values) => values.map((value) => -value),
  shift: (values) => [...values.slice(1), values[0]!],
  half: (values) => values.map((value, index) => (index < values.length / 2 ? value : 0)),
  zero: (values) => values.map(() => 0),
  nan: (values) => values.map((value, index) => (index === 0 ? NaN : value)),
  stale: (values, last) => (last.length > 0 ? last : values),
  noise: (values) => values.map((value, index) => value + (index % 2 === 0 ? 0.2 : -0.2)),
};

interface Fault {
  perturb: (values: number[], last: number[]) => number[];
  after: number;
}

export class Wrong<Reading> implements Replica<Reading> {
  readonly #right: Replica<Reading>;
  #fault: Fault | undefined;
  #answers = 0;
  #last: number[] = [];

  constructor(right: Replica<Reading>) {
    this.#right = right;
  }

  load(load: Load, progress: (step: LoadProgress) => void): Promise<Loaded> {
    this.#fault = faultOf(load);
    return this.#right.load(load, progress);
  }

  read(items: RunItem[]): Reading {
    return this.#right.read(items);
  }

  endProfile(end: EndProfile): Promise<Profiled> {
    return this.#right.endProfile(end);
  }

  async run(reading: Reading, pause: Pause, tell: Tell): Promise<Ran> {
    const ran = await this.#right.run(reading, pause, tell);
    for (const { outcome } of ran.outcomes) {
      const output = outcome.case === "result" ? outcome.value.output : undefined;
      if (output?.case !== "embedding") continue;
      const values = [...output.value.values];
      if (this.#fault && this.#answers++ >= this.#fault.after) {
        output.value.values = this.#fault.perturb(values, this.#last);
      }
      this.#last = values;
    }
    return ran;
  }
}

export function faultOf({ spec }: Load): Fault | undefined {
  const [, way, after, backend] = spec?.id.split(".") ?? [];
  const perturb = WAYS[way ?? ""];
  const meant = backend && Backend[spec?.backends[0] ?? Backend.UNSPECIFIED]?.toLowerCase() === backend;
  return perturb && meant ? { perturb, after: Number(after) } : undefined;
}
