/**
 * Client of webinfer for Node, over gRPC.
 *
 * ```ts
 * import { Client } from "webinfer";
 *
 * const client = new Client("localhost:50051");
 * await client.models.load("all-MiniLM-L6-v2");
 * const [cat, kitten] = await client.embed("all-MiniLM-L6-v2", ["A cat sleeps.", "A kitten naps."]);
 * client.close();
 * ```
 *
 * @module
 */

import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { SecureClientSessionOptions } from "node:http2";
import { messages, type Settings } from "./calls.js";
import { Answer, BaseClient, Source, type Request, type StreamOptions, type Values } from "./client.js";
import { fromStatus, InvalidInput, Unavailable } from "./errors.js";
import type { InferStreamRequest } from "./gen/webinfer/v1/inference_pb.js";
import { create } from "@bufbuild/protobuf";
import { InferStreamRequestSchema } from "./gen/webinfer/v1/inference_pb.js";
import { partial, Response } from "./results.js";

export * from "./common.js";

/** Settings of a client in Node. */
export interface NodeSettings extends Settings {
  /** Largest message. The service has its own limit, `--max-message-bytes`. Default: 268,435,456. */
  maxMessageBytes?: number;
  /** For a proxy with TLS, beside an `https://` address: as of `http2.connect`, such as `ca`. */
  tls?: SecureClientSessionOptions;
}

const MAX_MESSAGE_BYTES = 256 << 20;
const MOST_BYTES = 2 ** 32 - 1;
/** What the service may send of one answer before it is told to go on: Node's own 64 KiB slow large ones down. */
const WINDOW_BYTES = 4 << 20;
/** A service that is gone without a word is found out. */
const PING_MS = 30_000;
const IN_FLIGHT = 64;

/**
 * A connection to a service. It connects with its first call, and again when the service was away.
 *
 * Close it at the end: calls that run keep the program alive.
 */
export class Client extends BaseClient {
  readonly #sessions: Http2SessionManager;

  /**
   * @param address Host and port of the service, or the `http://` or `https://` address of a proxy.
   * @throws {@link InvalidInput} Where a setting is wrong.
   */
  constructor(address = "localhost:50051", settings: NodeSettings = {}) {
    const { maxMessageBytes = MAX_MESSAGE_BYTES, tls = {}, ...others } = settings;
    const baseUrl = /^https?:\/\//.test(address) ? address : `http://${address}`;
    if (typeof address !== "string" || !URL.canParse(baseUrl) || new URL(baseUrl).pathname !== "/") {
      throw new InvalidInput(`the address must be a host and a port, and not ${JSON.stringify(address)}`);
    }
    if (!Number.isInteger(maxMessageBytes) || maxMessageBytes < 1 || maxMessageBytes > MOST_BYTES) {
      throw new InvalidInput(`maxMessageBytes must be a whole number, 1 to ${MOST_BYTES}`);
    }
    const sessions = new Http2SessionManager(
      baseUrl,
      { pingIntervalMs: PING_MS },
      // In megabytes. Node refuses calls whose messages have no room in it.
      {
        ...tls,
        maxSessionMemory: Math.ceil((4 * maxMessageBytes) / 1e6),
        settings: { initialWindowSize: WINDOW_BYTES, ...tls.settings },
      },
    );
    super(
      createGrpcTransport({
        baseUrl,
        sessionManager: sessions,
        readMaxBytes: maxMessageBytes,
        writeMaxBytes: maxMessageBytes,
        acceptCompression: [],
      }),
      others,
    );
    this.#sessions = sessions;
  }

  /** Runs many requests over one call: see {@link BaseClient.stream}. It has no deadline unless `timeoutMs` says so. */
  override async *stream(
    requests: Values<Request>,
    options: StreamOptions = {},
  ): AsyncGenerator<Answer, void, undefined> {
    const leaving = new AbortController();
    const own = options.signal ? AbortSignal.any([options.signal, leaving.signal]) : leaving.signal;
    const call = this.calls.options(this.calls.signal(own), options.timeoutMs);
    const inFlight = this.checkInFlight(options.inFlight ?? IN_FLIGHT);
    const source = new Source(requests);
    const waiting = new Map<
      string,
      { index: number; attempt: number; request: Request; message: InferStreamRequest }
    >();
    const outgoing = new Outgoing();
    let more = true;
    let room = () => {};
    let failure: { thrown: unknown } | undefined;

    const feed = async () => {
      for (let index = 0; ; index++) {
        while (waiting.size >= inFlight) {
          await new Promise<void>((resolve) => (room = resolve));
        }
        const next = await source.next();
        if (next.done || leaving.signal.aborted) {
          break;
        }
        const { onPartial } = next.value;
        const request = await this.request(next.value);
        const message = create(InferStreamRequestSchema, { requestId: `${index}`, request, partials: !!onPartial });
        waiting.set(message.requestId, { index, attempt: 1, request: next.value, message });
        outgoing.push(message);
      }
      more = false;
      if (!waiting.size) {
        outgoing.end();
      }
    };

    try {
      // What the requests throw ends the call, and goes to the caller, as does what `onPartial` throws.
      feed().catch((thrown: unknown) => {
        failure = { thrown };
        leaving.abort();
      });
      for await (const { requestId, result } of messages(call, this.inference.inferStream(outgoing, call))) {
        const one = waiting.get(requestId);
        if (!one) {
          continue;
        }
        if (result.case === "partial") {
          try {
            one.request.onPartial?.(partial(result.value));
          } catch (thrown) {
            failure = { thrown };
            throw thrown;
          }
          continue;
        }
        const error = result.case === "error" ? fromStatus(result.value) : undefined;
        if (error && this.calls.isTriedAgain(error, one.attempt)) {
          setTimeout(() => outgoing.push(one.message), this.calls.delay(error, one.attempt++));
          continue;
        }
        waiting.delete(requestId);
        room();
        if (!more && !waiting.size) {
          outgoing.end();
        }
        const response = result.case === "response" ? new Response(result.value) : undefined;
        yield new Answer(one.index, one.request, response, error);
      }
      if (more || waiting.size) {
        throw new Unavailable("the service ended the stream before all was answered", { code: "UNAVAILABLE" });
      }
    } catch (thrown) {
      throw failure ? failure.thrown : this.calls.error(thrown);
    } finally {
      leaving.abort();
      outgoing.end();
      await source.return();
    }
  }

  override close(): void {
    super.close();
    this.#sessions.abort();
  }
}

/** What waits to be written to a stream: never more than are in flight. */
class Outgoing implements AsyncIterable<InferStreamRequest> {
  readonly #messages: InferStreamRequest[] = [];
  #ended = false;
  #wake = () => {};

  push(message: InferStreamRequest): void {
    this.#messages.push(message);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<InferStreamRequest> {
    for (;;) {
      for (let message; (message = this.#messages.shift());) {
        yield message;
      }
      if (this.#ended) {
        return;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
