/** Files: what the page makes of what it reads. */
import { afterEach, expect, test, vi } from "vitest";
import { Files } from "../src/files";

afterEach(() => vi.unstubAllGlobals());

function serve(body: string, length: number, status = 200): void {
  const headers = { "content-length": String(length) };
  vi.stubGlobal("fetch", async () => new Response(body, { status, headers }));
}

test("a file that is whole is read", async () => {
  serve("whole", 5);
  const files = new Files("/models/m/hash/", () => {});
  expect(new TextDecoder().decode(await files.bytes("onnx/model.onnx"))).toBe("whole");
});

test.each([4, 6])("a file is refused that has other than the %i bytes that were announced", async (length) => {
  serve("whole", length);
  const files = new Files("/models/m/hash/", () => {});
  await expect(files.bytes("onnx/model.onnx")).rejects.toThrow(`onnx/model.onnx: 5 bytes were read of ${length}`);
  await expect(files.fetch("/models/m/hash/config.json").then((read) => read.text())).rejects.toThrow("config.json");
});

test("a file that is not there is named", async () => {
  serve("", 0, 404);
  const files = new Files("/models/m/hash/", () => {});
  await expect(files.bytes("onnx/model.onnx")).rejects.toThrow("HTTP status 404");
  expect(files.missing).toEqual(["onnx/model.onnx"]);
});
