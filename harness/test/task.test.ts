/** Task: inputs that share a call fail alone, and what ends a call ends it for all. */
import { create } from "@bufbuild/protobuf";
import { expect, test, vi } from "vitest";
import { badInput, Failure, type Settled } from "../src/failure";
import { FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { ParametersSchema } from "../src/gen/webinfer/v1/inference_pb";
import { inGroups, inTurn, type Input, type Output } from "../src/tasks/task";

const inputs = (...reads: string[]): Input<string>[] =>
  reads.map((read) => ({ read, parameters: create(ParametersSchema) }));
const output = (text: string): Output => ({ case: "generated", value: { text } });
const told = (settled: Settled<Output>) =>
  settled instanceof Failure ? settled.message : (settled.value as { text: string }).text;

test("inputs run in turn, and one that fails does so alone, at once or later", async () => {
  const outputs = await inTurn<string>(({ read }) => {
    if (read === "at once") throw badInput("refused at once");
    return read === "later" ? Promise.reject(badInput("refused later")) : Promise.resolve(output(read));
  })(inputs("a", "at once", "b", "later", "c"));
  expect(outputs.map(told)).toEqual(["a", "refused at once", "b", "refused later", "c"]);
});

test.each([
  new Failure(FailureKind.CANCELLED, "cancelled"),
  new Failure(FailureKind.DEVICE_LOST, "the device was lost", true),
  new TypeError("what the library made of it"),
])("%s ends the call, and what follows does not run", async (error) => {
  const run = vi.fn(async ({ read }: Input<string>) => {
    if (read === "b") throw error;
    return output(read);
  });
  await expect(inTurn(run)(inputs("a", "b", "c"))).rejects.toBe(error);
  expect(run).toHaveBeenCalledTimes(2);
});

test("inputs of one key share a run, and each gets what is its own", async () => {
  const run = vi.fn(async (group: Input<string>[]) => group.map(({ read }) => output(read)));
  const outputs = await inGroups(inputs("a1", "b1", "a2", "c1", "b2"), ({ read }) => read[0]!, run);
  expect(outputs.map(told)).toEqual(["a1", "b1", "a2", "c1", "b2"]);
  expect(run.mock.calls.map(([group]) => group.map(({ read }) => read))).toEqual([["a1", "a2"], ["b1", "b2"], ["c1"]]);
});
