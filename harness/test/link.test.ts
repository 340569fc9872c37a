/** Link: what is and what is not a frame of the service. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  BrowserFrameSchema,
  FailedSchema,
  HeartbeatSchema,
  type ServiceFrame,
  ServiceFrameSchema,
} from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { decode, Link } from "../src/link";

class FakeSocket {
  static readonly OPEN = 1;
  static last: FakeSocket;
  readyState = 0;
  binaryType = "blob";
  onmessage?: (event: { data: unknown }) => void;
  onclose?: (event: { reason: string; code: number }) => void;
  readonly close = vi.fn();
  readonly send = vi.fn();
  constructor(readonly url: string) {
    FakeSocket.last = this;
  }
}

beforeEach(() => {
  vi.stubGlobal("WebSocket", FakeSocket);
  vi.stubGlobal("location", { host: "127.0.0.1:9" });
});
afterEach(() => vi.unstubAllGlobals());

function frame(call: bigint): ArrayBuffer {
  return new Uint8Array(toBinary(ServiceFrameSchema, create(ServiceFrameSchema, { call }))).buffer;
}

test("a frame comes out as it went in", () => {
  expect(decode(frame(5n)).call).toBe(5n);
});

test.each([
  ["text", "hello"],
  ["a cut frame", new Uint8Array([0x08]).buffer],
  ["a length beyond the frame", new Uint8Array([0x22, 0x7f, 0x00]).buffer],
  ["a wrong wire type", new Uint8Array([0x0f]).buffer],
])("%s is not a frame, and closes the link", (_, data) => {
  expect(() => decode(data)).toThrow();
  const onFrame = vi.fn();
  new Link("/link?token=t", { onOpen() {}, onFrame, onClose() {} });
  FakeSocket.last.onmessage?.({ data });
  expect(FakeSocket.last.close).toHaveBeenCalledWith(4002, expect.any(String));
  expect(onFrame).not.toHaveBeenCalled();
});

test("frames are handed on; nothing is sent on a link that is not open", () => {
  const frames: ServiceFrame[] = [];
  const onClose = vi.fn();
  const link = new Link("/link?token=t", { onOpen() {}, onFrame: (frame) => frames.push(frame), onClose });
  expect(FakeSocket.last.url).toBe("ws://127.0.0.1:9/link?token=t");
  expect(FakeSocket.last.binaryType).toBe("arraybuffer");
  FakeSocket.last.onmessage?.({ data: frame(3n) });
  expect(frames.map(({ call }) => call)).toEqual([3n]);
  expect(link.send(0n, { case: undefined })).toBe(false);
  FakeSocket.last.readyState = 1;
  expect(link.send(7n, { case: "heartbeat", value: create(HeartbeatSchema) })).toBe(true);
  expect(FakeSocket.last.send).toHaveBeenCalledOnce();
  const sent = fromBinary(BrowserFrameSchema, FakeSocket.last.send.mock.calls[0]?.[0]);
  expect(sent).toMatchObject({ call: 7n, body: { case: "heartbeat" } });
  FakeSocket.last.onclose?.({ reason: "", code: 1006 });
  expect(onClose).toHaveBeenCalledWith("code 1006");
});

test("what is larger than the service takes is not sent, and the link goes on", () => {
  const link = new Link("/link?token=t", { onOpen() {}, onFrame() {}, onClose() {} });
  FakeSocket.last.readyState = FakeSocket.OPEN;
  const load = create(ServiceFrameSchema, { call: 1n, body: { case: "load", value: { maxFrameBytes: 100n } } });
  FakeSocket.last.onmessage?.({ data: new Uint8Array(toBinary(ServiceFrameSchema, load)).buffer });
  const says = (message: string) => link.send(2n, { case: "failed", value: create(FailedSchema, { message }) });
  expect(() => says("x".repeat(200))).toThrow(/the answer has 2\d\d bytes, and 100 are the most.*--max-message-bytes/);
  expect(FakeSocket.last.send).not.toHaveBeenCalled();
  expect(says("short")).toBe(true);
  expect(fromBinary(BrowserFrameSchema, FakeSocket.last.send.mock.calls[0]![0]).call).toBe(2n);
});
