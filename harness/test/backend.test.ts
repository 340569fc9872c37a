/** Backend: what the library and the runtime are asked for, and what is said where a backend is not to be had. */
import { afterEach, expect, test, vi } from "vitest";
import { type Device, executionProvider, requireBackend } from "../src/backend";
import { FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { Backend } from "../src/gen/webinfer/v1/execution_pb";

afterEach(() => vi.unstubAllGlobals());

test.each<[Backend, Device, unknown]>([
  [Backend.WASM, "wasm", "wasm"],
  [Backend.WEBNN_CPU, "webnn-cpu", { name: "webnn", deviceType: "cpu" }],
  [Backend.WEBNN_GPU, "webnn-gpu", { name: "webnn", deviceType: "gpu" }],
  [Backend.WEBNN_NPU, "webnn-npu", { name: "webnn", deviceType: "npu" }],
])("backend %i is the device %s", async (backend, device, provider) => {
  vi.stubGlobal("navigator", { ml: { createContext: async () => ({}) } });
  expect(await requireBackend(backend)).toBe(device);
  expect(executionProvider(device)).toEqual(provider);
});

test("WebNN is missing without its interface, or where the context is refused", async () => {
  const missing = (message: string) => ({ kind: FailureKind.NO_BACKEND, message, fatal: true });
  vi.stubGlobal("navigator", {});
  await expect(requireBackend(Backend.WEBNN_CPU)).rejects.toMatchObject(
    missing("WebNN is not available: the browser does not offer it to workers"),
  );
  const createContext = vi.fn().mockRejectedValue(new Error("no NPU"));
  vi.stubGlobal("navigator", { ml: { createContext } });
  await expect(requireBackend(Backend.WEBNN_NPU)).rejects.toMatchObject(
    missing("WebNN is not available: the browser gives no context for npu: no NPU"),
  );
});

test.each([undefined, Backend.UNSPECIFIED, Backend.SIMULATION])("%s is no backend of a worker", async (backend) => {
  await expect(requireBackend(backend)).rejects.toThrow(`there is no backend ${backend}`);
});
