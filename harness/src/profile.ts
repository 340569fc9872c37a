/** Profile: what the runtime's profiler tells of a model's sessions, which it writes to its console alone. */
import { create } from "@bufbuild/protobuf";
import { type Profile, ProfileSchema } from "./gen/webinfer/v1/debug_pb";
import type { Watched } from "./clock";

/** Events of one session that are looked at. */
const MOST_EVENTS = 200_000;
/** Kinds of operators or kernels that are told. */
const MOST_KINDS = 1000;
/** The event of one run of a session. */
const RUN = "model_run";
/** Process of the events of a GPU, as the runtime writes them. */
const GPU = -1;

/** One event in the trace-event format. Times are in microseconds, from the session's own beginning. */
interface TraceEvent {
  cat: string;
  pid: number;
  ts: number;
  dur: number;
  name: string;
  args: { op_name?: string; provider?: string };
}

/** What took time, by what it is. */
class Sums<Kind extends object> {
  readonly #sums = new Map<string, Kind & { count: bigint; totalUs: bigint }>();

  add(kind: Kind, micros: number): void {
    const key = JSON.stringify(kind);
    const sum = this.#sums.get(key) ?? { ...kind, count: 0n, totalUs: 0n };
    sum.count += 1n;
    // The runtime's clock may be set back.
    sum.totalUs += BigInt(Math.max(0, Math.round(micros)));
    this.#sums.set(key, sum);
  }

  /** The most first. */
  list() {
    const sums = [...this.#sums.values()].sort((left, right) => Number(right.totalUs - left.totalUs));
    return sums.slice(0, MOST_KINDS);
  }
}

/** The text of a trace, within a bound. */
class Trace {
  readonly #encoder = new TextEncoder();
  readonly #lines: string[] = [];
  #room: number;
  dropped = 0;

  constructor(mostBytes: number) {
    this.#room = mostBytes - "[\n\n]\n".length;
  }

  add(event: object): void {
    const line = JSON.stringify(event);
    this.#room -= this.#encoder.encode(line).length + ",\n".length;
    if (this.#room >= 0) this.#lines.push(line);
    else this.dropped += 1;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return this.#encoder.encode(`[\n${this.#lines.join(",\n")}\n]\n`);
  }
}

export class Profiler {
  /** Lines of the session that tells its profile now. */
  #told: string[] | undefined;
  #dropped = 0;
  /** Runs of each session that were there for the warm-up. */
  readonly #warm = new Map<Watched, number>();

  /** Reads a line of the console. True where it is of a profile. */
  read(text: unknown): boolean {
    if (!this.#told || typeof text !== "string") return false;
    if (this.#told.length < MOST_EVENTS) this.#told.push(text);
    else this.#dropped += 1;
    return true;
  }

  /** Tells that what runs from now on is what the profile is wanted of. */
  warmed(sessions: readonly Watched[]): void {
    for (const watched of sessions) this.#warm.set(watched, watched.runs);
  }

  /** Ends the profile of all sessions. */
  end(sessions: readonly Watched[], mostBytes: number): Profile {
    const operators = new Sums<{ name: string; provider: string }>();
    const kernels = new Sums<{ program: string; operator: string }>();
    const trace = new Trace(mostBytes);
    const others: object[] = [];
    sessions.forEach((watched, index) => {
      const events = this.#tell(watched);
      const runs = events.filter(({ name }) => name === RUN).map(({ ts }) => ts);
      runs.sort((left, right) => left - right);
      const from = runs[this.#warm.get(watched) ?? 0] ?? Infinity;
      // All sessions have the worker's own time.
      const shift = runs.length > 0 ? Math.round(watched.begun * 1000) - runs.at(-1)! : 0;
      const [session, gpu] = [2 * index + 1, 2 * index + 2];
      trace.add(named(session, watched.name));
      if (events.some(({ pid }) => pid === GPU)) trace.add(named(gpu, `${watched.name}, on the GPU`));
      for (const event of events) {
        const onGpu = event.pid === GPU;
        const shown = { ...event, pid: onGpu ? gpu : session, ts: event.ts + shift };
        if (event.ts < from) {
          others.push(shown);
          continue;
        }
        trace.add(shown);
        const { op_name: name, provider } = event.args;
        if (onGpu) {
          // The node, its kind of operator, and the program.
          const [operator = "", program = ""] = event.name.split("&").slice(-2);
          kernels.add({ program, operator }, event.dur);
        } else if (event.cat === "Node" && name && provider) {
          operators.add({ name, provider }, event.dur);
        }
      }
    });
    // What is wanted has the room first.
    others.forEach((event) => trace.add(event));
    return create(ProfileSchema, {
      operators: operators.list(),
      kernels: kernels.list(),
      trace: trace.bytes(),
      droppedEvents: BigInt(this.#dropped + trace.dropped),
    });
  }

  /** Has the runtime write the events of one session, one a line. It does so before it returns. */
  #tell({ name, session }: Watched): TraceEvent[] {
    this.#told = [];
    session.endProfiling();
    const lines = this.#told;
    this.#told = undefined;
    if (lines[0] !== "[") throw new Error(`the runtime did not tell the profile of the session ${name}`);
    const events: TraceEvent[] = [];
    for (const line of lines) {
      if (line === "[" || line === "]") continue;
      try {
        events.push(JSON.parse(line.replace(/,$/, "")));
      } catch {
        // It does not escape the names that it writes.
        this.#dropped += 1;
      }
    }
    return events;
  }
}

/** The event that names a process of the trace. */
function named(pid: number, name: string): object {
  return { name: "process_name", ph: "M", pid, args: { name } };
}

/** Reads what the runtime writes from now on. It takes hold of console.log when it is loaded: this must come before. */
export function readProfile(): Profiler {
  const profiler = new Profiler();
  const write = console.log.bind(console);
  console.log = (...words: unknown[]) => {
    if (!profiler.read(words[0])) write(...words);
  };
  return profiler;
}
