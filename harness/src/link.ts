/** Link: one WebSocket to the service. Each binary frame holds one message. */
import { create, fromBinary } from "@bufbuild/protobuf";
import {
  type BrowserFrame,
  BrowserFrameSchema,
  HeartbeatSchema,
  type ServiceFrame,
  ServiceFrameSchema,
} from "./gen/webinfer/bridge/v1/bridge_pb";
import { Encoder } from "./encode";
import { badInput } from "./failure";

export type Body = BrowserFrame["body"];

/** WebSocket close code for data that breaks the protocol, in the range that a page may use. */
const BROKEN_FRAME = 4002;

const HEARTBEAT_MS = 1000;

export interface LinkEvents {
  onOpen(): void;
  onFrame(frame: ServiceFrame): void;
  /** Once, however the link ended. It is not opened again: the service replaces what it lost. */
  onClose(reason: string): void;
}

export class Link {
  readonly #socket: WebSocket;
  #encoder = new Encoder();
  /** Bytes of a frame that the service takes. */
  #most = Infinity;

  /** `path` is path and query of the link on the page's own origin. */
  constructor(path: string, events: LinkEvents) {
    this.#socket = new WebSocket(`ws://${location.host}${path}`);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => events.onOpen();
    this.#socket.onclose = (event) => events.onClose(event.reason || `code ${event.code}`);
    this.#socket.onmessage = (event) => {
      let frame: ServiceFrame;
      try {
        frame = decode(event.data);
      } catch (error) {
        // A peer that breaks framing is replaced, never repaired.
        this.#socket.close(BROKEN_FRAME, String(error).slice(0, 100));
        return;
      }
      if (frame.body.case === "load") this.#most = Number(frame.body.value.maxFrameBytes) || Infinity;
      events.onFrame(frame);
    };
  }

  /** Tells the service from now on that this realm lives, and what a page's heap has. */
  beat(heap?: { bytes: number }): void {
    const beat = () => create(HeartbeatSchema, { jsHeapBytes: BigInt(heap?.bytes ?? 0) });
    setInterval(() => this.send(0n, { case: "heartbeat", value: beat() }), HEARTBEAT_MS);
  }

  /**
   * Sends one frame. False where the link is not open, so that the caller can report by other means. Throws where it is larger
   * than the service takes, which would end the link.
   */
  send(call: bigint, body: Body): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    const bytes = this.#encoder.encode(BrowserFrameSchema, create(BrowserFrameSchema, { call, body }));
    if (bytes.length > this.#most) {
      // It keeps the memory of the largest.
      this.#encoder = new Encoder();
      const least = `${bytes.length} bytes, and ${this.#most} are the most, by the service's --max-message-bytes`;
      throw badInput(`the answer has ${least}: ask for less, such as of a smaller picture`);
    }
    // The socket copies the bytes before it returns.
    this.#socket.send(bytes);
    return true;
  }
}

/** Decodes what came in one WebSocket frame; throws where that is not a message of the service. */
export function decode(data: unknown): ServiceFrame {
  if (!(data instanceof ArrayBuffer)) throw new Error("frame is not binary");
  return fromBinary(ServiceFrameSchema, new Uint8Array(data));
}
