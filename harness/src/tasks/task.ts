/** Task: what a kind of model does with items. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Batching, FailureKind } from "../gen/webinfer/bridge/v1/bridge_pb";
import type { Chunk, Item, ItemResultSchema, Parameters } from "../gen/webinfer/v1/inference_pb";
import type { ModelSpec } from "../gen/webinfer/v1/model_pb";
import type { Device } from "../backend";
import type { Shapes } from "../buckets";
import type { Clock } from "../clock";
import { alone, Failure, type Settled } from "../failure";
import type { Files } from "../files";
import type { Severity } from "../placement";

/** What comes of an item. */
export type Output = NonNullable<MessageInitShape<typeof ItemResultSchema>["output"]>;

/** What an item has come to since the last step. */
export interface Step {
  text?: string;
  chunks?: MessageInit<Chunk>[];
}
type MessageInit<T> = Omit<Partial<T>, "$typeName" | "$unknown">;

/** An item that was read. */
export interface Input<Read> {
  read: Read;
  parameters: Parameters;
  /** Tells of it; not there where nobody listens. */
  step?: (step: Step) => void;
}

/** Where an item fails alone, its Failure takes its place. What is thrown fails the whole call. */
export interface Task<Read = unknown> {
  /** How many of its items may share a call. */
  readonly batching: Batching;
  /** Runs the session before the replica serves. */
  warmUp(): Promise<void>;
  /**
   * What an item holds, decoded. Throws a Failure where that is not what the task takes. It begins as soon as the item is
   * there, beside the call that runs.
   */
  read(item: Item): Read | Promise<Read>;
  /** What came of each input, in their order. */
  run(inputs: Input<Read>[]): Promise<Settled<Output>[]>;
}

export interface OpenTask {
  /** Path of the model's folder, ending in "/". */
  base: string;
  /** The registration with all defaults filled in. */
  spec: ModelSpec;
  device: Device;
  files: Files;
  /** Paths below the folder of the files in which graphs keep weights. */
  externalData: string[];
  /** How much the session writes to its log. */
  logSeverityLevel: Severity;
  /** Whether the runtime keeps a profile of the session. */
  enableProfiling: boolean;
  /** Watches the sessions of the model. */
  clock: Clock;
  /** Has some shapes run faster, where that is wanted. */
  shapes?: Shapes | undefined;
}

/** Runs one input after the other; each fails alone. */
export function inTurn<Read>(
  run: (input: Input<Read>) => Promise<Output>,
): (inputs: Input<Read>[]) => Promise<Settled<Output>[]> {
  return async (inputs) => {
    const outputs: Settled<Output>[] = [];
    for (const input of inputs) {
      try {
        outputs.push(await run(input));
      } catch (error) {
        // What is no Failure may come from a runtime that is done for, and fails the call.
        if (!(error instanceof Failure) || error.kind === FailureKind.CANCELLED) throw error;
        outputs.push(alone(error));
      }
    }
    return outputs;
  };
}

/** Runs inputs together that have the same key. */
export async function inGroups<Read>(
  inputs: Input<Read>[],
  key: (input: Input<Read>) => string,
  run: (group: Input<Read>[]) => Promise<Settled<Output>[]>,
): Promise<Settled<Output>[]> {
  const groups = new Map<string, number[]>();
  inputs.forEach((input, index) => {
    const name = key(input);
    groups.set(name, [...(groups.get(name) ?? []), index]);
  });
  const outputs: Settled<Output>[] = [];
  for (const indices of groups.values()) {
    const ran = await run(indices.map((index) => inputs[index]!));
    indices.forEach((index, at) => (outputs[index] = ran[at]!));
  }
  return outputs;
}
