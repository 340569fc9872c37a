/** Placement: what the runtime's log says of where it put the nodes, as it wrote it. */
import { expect, test, vi } from "vitest";
import { Placements, readPlacements } from "../src/placement";

const TIME = "2026-11-23 11:32:25.934859";
const PLACE = "session_state.cc:1380 VerifyEachNodeIsAssignedToAnEp]";
const told = (severity: string, text: string) => `${TIME} [${severity}:onnxruntime:, ${text}`;
const warning = (text: string) => `\x1b[0;93m${told("W", text)}\x1b[m`;

test("nodes are counted by provider, over all sessions", () => {
  const placements = new Placements();
  for (const nodes of [60, 8]) {
    expect(
      placements.read(told("V", `${PLACE}  All nodes placed on [CPUExecutionProvider]. Number of nodes: ${nodes}`)),
    ).toBe(true);
  }
  placements.read(told("V", `${PLACE}  Node(s) placed on [WebGpuExecutionProvider]. Number of nodes: 69`));
  expect(placements.list()).toMatchObject([
    { provider: "CPUExecutionProvider", nodes: 68 },
    { provider: "WebGpuExecutionProvider", nodes: 69 },
  ]);
});

test("nodes of WebNN are counted before they are made one", () => {
  const placements = new Placements();
  const capability =
    "webnn_execution_provider.cc:156 GetCapability] WebNNExecutionProvider::GetCapability, number of partitions " +
    "supported by WebNN: 13 number of nodes in the graph: 320 number of nodes supported by WebNN: 82";
  expect(placements.read(warning(capability))).toBe(true);
  placements.read(told("V", `${PLACE}  Node(s) placed on [WebNNExecutionProvider]. Number of nodes: 13`));
  expect(placements.list()).toMatchObject([{ provider: "WebNNExecutionProvider", nodes: 82 }]);
  // Those of another session come to them.
  placements.read(warning(capability.replace("82", "60")));
  placements.read(told("V", `${PLACE}  All nodes placed on [WebNNExecutionProvider]. Number of nodes: 1`));
  expect(placements.list()).toMatchObject([{ provider: "WebNNExecutionProvider", nodes: 142 }]);
});

test("only what others need goes on to the console", () => {
  const write = vi.spyOn(console, "error").mockImplementation(() => {});
  const placements = readPlacements();
  console.error(told("I", 'webgpu_context.cc:512 Run] Starting program "Add[E00]" (1, 1, 1)'));
  console.error(warning(`${PLACE} Rerunning with verbose output on a non-minimal build will show node assignments.`));
  expect(write).not.toHaveBeenCalled();
  const serious = warning("graph.cc:1 Resolve] an initializer is not used");
  console.error(serious);
  console.error("of the page", { itself: true });
  console.error(new Error("thrown"));
  expect(write.mock.calls).toEqual([[serious], ["of the page", { itself: true }], [new Error("thrown")]]);
  expect(placements.list()).toEqual([]);
  write.mockRestore();
});
