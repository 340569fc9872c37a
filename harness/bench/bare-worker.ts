/** Bare worker: the product's own runner in a bare loop, told what to do as JSON over one WebSocket. */
import { fromBinary, fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import { LoadedSchema, LoadSchema, type Ran, type RunItem, RunSchema } from "../src/gen/webinfer/bridge/v1/bridge_pb";

import { describe } from "../src/failure";
import { Runner } from "../src/runner";
import { type Lever, pull } from "./lever";

type Command =
  | { cmd: "load"; load: JsonValue; lever: Lever }
  | { cmd: "loop"; batch: number; millis: number }
  | { cmd: "embed"; batch: number };

const socket = new WebSocket(`ws://${location.host}/bare`);
socket.binaryType = "arraybuffer";
const say = (value: unknown) => socket.send(JSON.stringify(value));
const runner = new Runner((failure) => say({ error: describe(failure) }));

socket.onmessage = async ({ data }: MessageEvent<string | ArrayBuffer>) => {
  // Measures the socket alone.
  if (typeof data !== "string") return socket.send(data);
  try {
    say(await obey(JSON.parse(data) as Command));
  } catch (error) {
    say({ error: describe(error) });
  }
};

async function obey(command: Command): Promise<unknown> {
  switch (command.cmd) {
    case "load": {
      pull(command.lever);
      const loaded = await runner.load(fromJson(LoadSchema, command.load), () => {});
      return { ok: true, loaded: toJson(LoadedSchema, loaded) };
    }
    case "loop":
      return loop(await given(), command.batch, command.millis);
    case "embed":
      return { embeddings: await embed(await given(), command.batch) };
    default:
      throw new Error("there is no such command");
  }
}

/** The items that were left to be run. */
async function given(): Promise<RunItem[]> {
  const response = await fetch("/items");
  return fromBinary(RunSchema, new Uint8Array(await response.arrayBuffer())).items;
}

/** Runs a batch, of which no item may fail. */
async function run(items: RunItem[]): Promise<Ran> {
  const ran = await runner.run(
    runner.read(items),
    async () => {},
    () => {},
  );
  for (const { outcome } of ran.outcomes) if (outcome.case === "failed") throw new Error(outcome.value.message);
  return ran;
}

/** Batches back to back, of the items taken in turn, until the time is over and the running one is done. */
async function loop(items: RunItem[], batch: number, millis: number): Promise<unknown> {
  const latencies: number[] = [];
  const hops = { preprocess_us: 0, inference_us: 0, postprocess_us: 0 };
  let replayed = 0;
  const begin = performance.now();
  let now = begin;
  for (let at = 0; now - begin < millis; at += batch) {
    const turn = Array.from({ length: batch }, (_, index) => items[(at + index) % items.length] as RunItem);
    const ran = await run(turn);
    hops.preprocess_us += Number(ran.preprocessUs);
    hops.inference_us += Number(ran.inferenceUs);
    hops.postprocess_us += Number(ran.postprocessUs);
    if (ran.replayedShape.length > 0) replayed += 1;
    const end = performance.now();
    latencies.push(Math.round((end - now) * 1000));
    now = end;
  }
  const batches = latencies.length;
  return { items: batches * batch, batches, replayed, millis: now - begin, ...hops, latencies_us: latencies };
}

async function embed(items: RunItem[], batch: number): Promise<number[][]> {
  const vectors: number[][] = [];
  for (let at = 0; at < items.length; at += batch) {
    const { outcomes } = await run(items.slice(at, at + batch));
    for (const { outcome } of outcomes) {
      const output = outcome.case === "result" ? outcome.value.output : undefined;
      vectors.push(output?.case === "embedding" ? Array.from(output.value.values) : []);
    }
  }
  return vectors;
}
