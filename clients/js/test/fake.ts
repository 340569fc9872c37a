// A service in this process that does as a test says.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { createServer as createHttp1Server, type Server } from "node:http";
import { createServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { ErrorInfoSchema, RetryInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../src/gen/google/rpc/status_pb.js";
import {
  InferenceService,
  InferResponseSchema,
  type InferRequest,
  type InferStreamRequest,
} from "../src/gen/webinfer/v1/inference_pb.js";

import { LoadPhase, ModelService } from "../src/gen/webinfer/v1/model_pb.js";

export type Outcome = MessageInitShape<typeof InferResponseSchema>;

/** A vector, as one item's answer. */
export function answer(...values: number[]): Outcome {
  return {
    results: [{ output: { case: "embedding", value: { values } } }],
    executions: [{ browser: "Fake", timings: { queueUs: 7n } }],
  };
}

/** The error of a call that is refused for now. */
export function refusal(pushbackMs?: number, retryMs = 10, code = Code.ResourceExhausted): ConnectError {
  const metadata = pushbackMs === undefined ? undefined : { "grpc-retry-pushback-ms": `${pushbackMs}` };
  return new ConnectError("too much is pending", code, metadata, [
    { desc: ErrorInfoSchema, value: { reason: "OVERLOADED", domain: "webinfer" } },
    { desc: RetryInfoSchema, value: { retryDelay: { nanos: retryMs * 1e6 } } },
  ]);
}

/** The same inside of a stream. */
export function refusalOnStream() {
  const info = create(ErrorInfoSchema, { reason: "OVERLOADED", domain: "webinfer" });
  const retry = create(RetryInfoSchema, { retryDelay: { nanos: 1e7 } });
  const details = [anyPack(ErrorInfoSchema, info), anyPack(RetryInfoSchema, retry)];
  return create(StatusSchema, { code: Code.ResourceExhausted, message: "too much is pending", details });
}

/** What happens once, later. */
export class Event {
  readonly happened: Promise<void>;
  set!: () => void;

  constructor() {
    this.happened = new Promise((resolve) => (this.set = resolve));
  }
}

export class Fake {
  infer: (request: InferRequest, context: HandlerContext) => Outcome | Promise<Outcome> = () => answer(1);
  onStream: (request: InferStreamRequest) => Outcome | Error | undefined = () => answer(1);
  refusesGenerate = false;
  maxBytes = 1 << 20;
  /** HTTP/1.1 in place of HTTP/2: what `fetch` speaks, and so the client for pages. */
  http1 = false;
  loads = 0;
  readonly calls: InferRequest[] = [];
  readonly called = new Event();
  readonly cancelled = new Event();
  readonly heads: Headers[] = [];
  #server: Http2Server | Server | undefined;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #sockets = new Set<Socket>();

  /** Answers when the caller has left. */
  async hold(context: HandlerContext): Promise<Outcome> {
    await new Promise<void>((resolve) => context.signal.addEventListener("abort", () => resolve()));
    this.cancelled.set();
    return answer(0);
  }

  async start(port = 0): Promise<string> {
    const seen = (request: InferRequest, context: HandlerContext) => {
      this.calls.push(request);
      this.heads.push(context.requestHeader);
      this.called.set();
    };
    const fake = this;
    const handler = connectNodeAdapter({
      readMaxBytes: this.maxBytes,
      routes: (router) => {
        router.service(ModelService, {
          async *load() {
            fake.loads++;
            yield { phase: LoadPhase.FILES };
            yield { phase: LoadPhase.READY };
          },
        });
        router.service(InferenceService, {
          infer: async (request, context) => {
            seen(request, context);
            return await this.infer(request, context);
          },
          async *generate({ request }, context) {
            seen(request!, context);
            if (fake.refusesGenerate) {
              throw refusal(1);
            }
            yield { result: { case: "partial" as const, value: { text: "so " } } };
            yield { result: { case: "partial" as const, value: { text: "far" } } };
            yield { result: { case: "response" as const, value: await fake.infer(request!, context) } };
          },
          async *inferStream(requests, context) {
            context.signal.addEventListener("abort", () => fake.cancelled.set());
            for await (const request of requests) {
              seen(request.request!, context);
              const outcome = fake.onStream(request);
              if (!outcome) {
                return;
              }
              const { requestId } = request;
              if (request.partials) {
                yield { requestId, result: { case: "partial" as const, value: { text: "so " } } };
                yield { requestId, result: { case: "partial" as const, value: { text: "far" } } };
              }
              yield outcome instanceof Error
                ? { requestId, result: { case: "error" as const, value: refusalOnStream() } }
                : { requestId, result: { case: "response" as const, value: outcome } };
            }
          },
        });
      },
    });
    this.#server = this.http1 ? createHttp1Server(handler) : createServer({}, handler);
    this.#server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("close", () => this.#sessions.delete(session));
    });
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => this.#server!.listen(port, "127.0.0.1", resolve));
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Ends all connections, as the system does for a service that has ended. */
  hangUp(how: "end" | "resetAndDestroy"): void {
    for (const socket of this.#sockets) {
      socket[how]();
    }
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server) {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const session of this.#sessions) {
        session.destroy();
      }
      if ("closeAllConnections" in server) {
        server.closeAllConnections();
      }
      await closed;
    }
  }
}
