/**
 * Client of webinfer for pages, over gRPC-Web. The service must have been started with `--cors-origin`, which names the
 * page's origin.
 *
 * ```ts
 * import { Client } from "webinfer/web";
 *
 * const client = new Client("http://localhost:50051");
 * const [cat, kitten] = await client.embed("all-MiniLM-L6-v2", ["A cat sleeps.", "A kitten naps."]);
 * ```
 *
 * @module
 */

import { createGrpcWebTransport } from "@connectrpc/connect-web";
import type { Settings } from "./calls.js";
import { Answer, BaseClient, Source, type Request, type StreamOptions, type Values } from "./client.js";
import { InvalidInput } from "./errors.js";

export * from "./common.js";

/** Browsers open no more connections to a service over HTTP/1.1. */
const IN_FLIGHT = 6;

/** A connection to a service, from a page or a worker. */
export class Client extends BaseClient {
  /**
   * @param address Origin of the service, such as `http://localhost:50051`.
   * @throws {@link InvalidInput} Where a setting is wrong.
   */
  constructor(address: string, settings: Settings = {}) {
    if (!URL.canParse(address) || !/^https?:/.test(address)) {
      throw new InvalidInput(`${JSON.stringify(address)} must be an origin, such as http://localhost:50051`);
    }
    super(createGrpcWebTransport({ baseUrl: address }), settings);
  }

  /**
   * Runs many requests: see {@link BaseClient.stream}. Pages cannot send a stream: each request is a call of its own, which has its own
   * deadline, `timeoutMs`.
   */
  override async *stream(
    requests: Values<Request>,
    options: StreamOptions = {},
  ): AsyncGenerator<Answer, void, undefined> {
    const leaving = new AbortController();
    const own = options.signal ? AbortSignal.any([options.signal, leaving.signal]) : leaving.signal;
    const signal = this.calls.signal(own);
    const inFlight = this.checkInFlight(options.inFlight ?? IN_FLIGHT);
    const source = new Source(requests);
    const running = new Map<number, Promise<Answer>>();
    let pulling: Promise<IteratorResult<Request>> | undefined;
    let more = true;
    try {
      for (let index = 0; ;) {
        if (more && !pulling && running.size < inFlight) {
          pulling = this.calls.unlessAborted(source.next(), signal);
        }
        if (!pulling && !running.size) {
          return;
        }
        const event = await Promise.race([...running.values(), ...(pulling ? [pulling] : [])]);
        if (event instanceof Answer) {
          running.delete(event.index);
          yield event;
          continue;
        }
        pulling = undefined;
        if (event.done) {
          more = false;
        } else {
          running.set(index, this.#answer(index, event.value, { ...options, signal }));
          index++;
        }
      }
    } finally {
      leaving.abort();
      await source.return();
    }
  }

  async #answer(index: number, request: Request, options: StreamOptions): Promise<Answer> {
    const { model, inputs, onPartial, ...told } = request;
    let failure: { thrown: unknown } | undefined;
    try {
      const generation = onPartial && this.generate(model, inputs, { ...options, ...told });
      for await (const partial of generation ?? []) {
        try {
          onPartial?.(partial);
        } catch (thrown) {
          failure = { thrown };
          throw thrown;
        }
      }
      const response = await (generation?.response() ?? this.infer(model, inputs, { ...options, ...told }));
      return new Answer(index, request, response, undefined);
    } catch (thrown) {
      if (failure) {
        // It is the caller's own, and ends the stream.
        throw failure.thrown;
      }
      return new Answer(index, request, undefined, this.calls.error(thrown));
    }
  }
}
