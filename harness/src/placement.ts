/** Placement: where the runtime put the nodes of a graph, which it tells in its log alone. */
import { create } from "@bufbuild/protobuf";
import { type NodePlacement, NodePlacementSchema } from "./gen/webinfer/v1/execution_pb";

/** A line of the runtime's log: its severity (verbose, info, warning, error, fatal) and its text. */
const LINE = /^(?:\x1b\[[0-9;]*m)?\d{4}-\d\d-\d\d [\d:.]+ \[([VIWEF]):[^\]]*\] ?(.*)/s;
const PLACED = /^ ?(?:All nodes|Node\(s\)) placed on \[(\w+)\]\. Number of nodes: (\d+)/;
/** WebNN fuses what it takes, so that the lines above count a whole partition as one node. */
const WEBNN = /^WebNN\w+::GetCapability, .* number of nodes supported by WebNN: (\d+)/;
const WEBNN_PROVIDER = "WebNNExecutionProvider";
/** Warnings that say in general what the lines above say exactly. */
const GENERAL = /node assignments|preferred execution providers|::GetCapability/;

/** Severities, for the options of a session: the one at which the runtime tells it, and that of errors alone. */
export const VERBOSE = 0;
export const ERRORS = 3;
export type Severity = typeof VERBOSE | typeof ERRORS;

export class Placements {
  #nodes = new Map<string, number>();
  /** Those that WebNN takes of the session that is being made. */
  #webnn = 0;

  /** Reads a line of the console. True where it is of the runtime's log, and of no use to anybody else. */
  read(text: unknown): boolean {
    const line = typeof text === "string" ? LINE.exec(text) : null;
    if (!line) return false;
    const [, severity, message = ""] = line;
    const placed = PLACED.exec(message);
    if (placed) {
      const [, provider = "", told] = placed;
      let nodes = Number(told);
      if (provider === WEBNN_PROVIDER) [nodes, this.#webnn] = [Math.max(nodes, this.#webnn), 0];
      this.#nodes.set(provider, (this.#nodes.get(provider) ?? 0) + nodes);
    }
    // It may be asked again for a graph that was changed meanwhile.
    this.#webnn = Math.max(this.#webnn, Number(WEBNN.exec(message)?.[1] ?? 0));
    return severity === "V" || severity === "I" || GENERAL.test(message);
  }

  /** Makes a session; also what is read of it alone. */
  async apart<T>(make: () => Promise<T>): Promise<[T, NodePlacement[]]> {
    const others = [this.#nodes, this.#webnn] as const;
    [this.#nodes, this.#webnn] = [new Map(), 0];
    try {
      return [await make(), this.list()];
    } finally {
      [this.#nodes, this.#webnn] = others;
    }
  }

  /** What was read so far, by the names of the providers. */
  list(): NodePlacement[] {
    const placed = [...this.#nodes].sort(([left], [right]) => (left < right ? -1 : 1));
    return placed.map(([provider, nodes]) => create(NodePlacementSchema, { provider, nodes }));
  }
}

/** Reads the runtime's log from now on. It takes hold of console.error when it is loaded: this must come before. */
export function readPlacements(): Placements {
  const placements = new Placements();
  const write = console.error.bind(console);
  console.error = (...words: unknown[]) => {
    if (!placements.read(words[0])) write(...words);
  };
  return placements;
}
