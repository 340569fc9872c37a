/** WebNN: what a context says of itself, and what is missing where there is none. */
import { afterEach, expect, test, vi } from "vitest";
import { probeContext } from "../src/webnn";

afterEach(() => vi.unstubAllGlobals());

test("a context is asked for its operators and given back", async () => {
  const destroy = vi.fn();
  const limits = { preferredInputLayout: "nchw", maxTensorByteLength: 1024, input: {}, matmul: {}, add: {} };
  const createContext = vi.fn(async () => ({ opSupportLimits: () => limits, destroy }));
  vi.stubGlobal("navigator", { ml: { createContext } });
  const expected = { operators: ["add", "matmul"], maxTensorBytes: 1024n, preferredLayout: "nchw" };
  expect(await probeContext("npu")).toEqual(expected);
  expect(createContext).toHaveBeenCalledWith({ deviceType: "npu" });
  expect(destroy).toHaveBeenCalledOnce();
});

test("a context may tell nothing, or be refused", async () => {
  vi.stubGlobal("navigator", { ml: { createContext: async () => ({}) } });
  expect(await probeContext("cpu")).toEqual({ operators: [], maxTensorBytes: 0n, preferredLayout: "" });
  const refuse = async () => Promise.reject(new Error("no NPU"));
  vi.stubGlobal("navigator", { ml: { createContext: refuse } });
  await expect(probeContext("npu")).rejects.toThrow("no NPU");
});
