/** Page: which script a worker runs. */
import { create } from "@bufbuild/protobuf";
import { expect, test, vi } from "vitest";
import { type ServiceFrame, ServiceFrameSchema } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { Backend } from "../src/gen/webinfer/v1/execution_pb";
import type { LinkEvents } from "../src/link";

const { opened } = vi.hoisted(() => ({ opened: vi.fn() }));
vi.mock("../src/link", () => ({
  Link: class {
    constructor(_path: string, events: LinkEvents) {
      opened(events);
    }
    send() {
      return true;
    }
  },
}));

const script = vi.fn();
class FakeWorker {
  readonly postMessage = vi.fn();
  constructor(url: string) {
    script(url);
  }
}
vi.stubGlobal("Worker", FakeWorker);
vi.stubGlobal("location", { hash: "#/link?token=t" });
vi.stubGlobal("addEventListener", vi.fn());

test.each([
  [Backend.WASM, "worker-wasm.js"],
  [Backend.WEBGPU, "worker-webgpu.js"],
  // The service gives this one another content security policy, by this name.
  [Backend.WEBNN_CPU, "worker-webnn.js"],
  [Backend.WEBNN_GPU, "worker-webnn.js"],
  [Backend.WEBNN_NPU, "worker-webnn.js"],
])("backend %i runs in %s", async (backend, expected) => {
  await import("../src/page");
  const { onFrame } = opened.mock.calls[0]?.[0] as { onFrame(frame: ServiceFrame): void };
  const value = { workerId: "w", link: "/link?token=w", backend };
  onFrame(create(ServiceFrameSchema, { body: { case: "startWorker", value } }));
  expect(script).toHaveBeenLastCalledWith(expected);
});
