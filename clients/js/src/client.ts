/** The client: what is the same in Node and in pages. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { createClient, type CallOptions, type Client as RpcClient, type Transport } from "@connectrpc/connect";
import { Calls, messages, type Options, type Settings } from "./calls.js";
import { InvalidInput, Unavailable, WebinferError } from "./errors.js";
import {
  InferenceService,
  InferRequestSchema,
  ParametersSchema,
  Priority,
  type GenerateResponse,
  type InferRequest,
} from "./gen/webinfer/v1/inference_pb.js";
import { ModelService } from "./gen/webinfer/v1/model_pb.js";
import { toItem, type Input } from "./inputs.js";
import { Models } from "./models.js";
import { checked, valueOf } from "./names.js";
import { partial, Response, type Partial, type Result } from "./results.js";

/** How a task is to be done: the fields of the message Parameters, such as `{ topK: 3 }`. */
export type Parameters = MessageInitShape<typeof ParametersSchema>;

/** What a request can be told beside its inputs. */
export interface RequestOptions {
  parameters?: Parameters | undefined;
  /** "low", "normal" or "high". */
  priority?: string | undefined;
}

/** A request of a stream. */
export interface Request extends RequestOptions {
  /** Id of a loaded model. */
  model: string;
  /** One input, or a list of them. */
  inputs: Input | Input[];
  /** Is told what the items have come to, before the answer is there. What it throws ends the stream. */
  onPartial?: ((partial: Partial) => void) | undefined;
}

/** How a stream is to be run. */
export interface StreamOptions extends Options {
  /** Requests that wait for their answers at most. */
  inFlight?: number;
}

/** What came of a request of a stream: a response or an error. */
export class Answer {
  constructor(
    /** The place of the request, from 0. */
    readonly index: number,
    readonly request: Request,
    readonly response: Response | undefined,
    readonly error: WebinferError | undefined,
  ) {}

  /** The response. Throws the error, where there is one. */
  result(): Response {
    if (!this.response) {
      throw this.error ?? new WebinferError("the answer is empty");
    }
    return this.response;
  }
}

/** Values that come now or later. */
export type Values<T> = AsyncIterable<T> | Iterable<T>;

/** A connection to a service. All of its calls throw a {@link WebinferError}. */
export abstract class BaseClient implements Disposable {
  /** The models of the service. */
  readonly models: Models;
  /** What carries its calls, for clients of other services: `createClient(PoolService, client.transport)`. */
  readonly transport: Transport;
  /** @internal */
  protected readonly calls: Calls;
  /** @internal */
  protected readonly inference: RpcClient<typeof InferenceService>;

  /** @internal */
  constructor(transport: Transport, settings: Settings) {
    valueOf(Priority, settings.priority);
    this.calls = new Calls(settings);
    this.transport = transport;
    this.inference = createClient(InferenceService, transport);
    this.models = new Models(createClient(ModelService, transport), this.calls);
  }

  /**
   * Runs a model on an input, or on each of a list of them.
   *
   * @param model Id of a loaded model.
   */
  async infer(model: string, inputs: Input | Input[], options: RequestOptions & Options = {}): Promise<Response> {
    const request = await this.request({ model, inputs, ...options });
    return new Response(await this.calls.attempt(options, (call) => this.inference.infer(request, call)));
  }

  /** The vectors of texts or of other inputs, in their order. */
  async embed(model: string, inputs: Input[], options: Options = {}): Promise<Float32Array[]> {
    return (await this.infer(model, inputs, options)).results.map((result) => result.embedding);
  }

  /** Runs a model and tells what its items come to, step by step. */
  generate(model: string, inputs: Input | Input[], options: RequestOptions & Options = {}): Generation {
    const start = async (call: CallOptions) =>
      this.inference.generate({ request: await this.request({ model, inputs, ...options }) }, call);
    return new Generation(this.calls, start, options);
  }

  /**
   * Runs many requests, and yields each one's answer as it is done, in any order.
   *
   * An error of one is in its answer; one that is refused for now is sent again. Requests are taken as there is room for
   * them: at most `inFlight` wait for their answers. Leaving the loop cancels what still runs.
   */
  abstract stream(requests: Values<Request>, options?: StreamOptions): AsyncGenerator<Answer, void, undefined>;

  /** Runs a model on many inputs, and yields their results in order. Throws the first error. */
  async *map(
    model: string,
    inputs: Values<Input>,
    options: StreamOptions & RequestOptions = {},
  ): AsyncGenerator<Result, void, undefined> {
    const { parameters, priority, ...stream } = options;
    const source = new Source(inputs);
    // Not a generator, which hears of its end only when the value is there that it waits for.
    const requests: AsyncIterableIterator<Request> = {
      async next() {
        const next = await source.next();
        return next.done ? next : { value: { model, inputs: await next.value, parameters, priority } };
      },
      return: () => source.return(),
      [Symbol.asyncIterator]() {
        return this;
      },
    };
    const done = new Map<number, Result>();
    let following = 0;
    for await (const answer of this.stream(requests, stream)) {
      done.set(answer.index, answer.result().only);
      for (let result; (result = done.get(following)); following++) {
        done.delete(following);
        yield result;
      }
    }
  }

  /** Ends the connection. Calls that run throw `Cancelled`. */
  close(): void {
    this.calls.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal The message of a request. */
  protected async request({ model, inputs, parameters, priority }: Request): Promise<InferRequest> {
    const items = await Promise.all((Array.isArray(inputs) ? inputs : [inputs]).map(toItem));
    return create(InferRequestSchema, {
      model,
      items,
      priority: valueOf(Priority, priority ?? this.calls.settings.priority),
      ...(parameters ? { parameters: checked(ParametersSchema, parameters) } : {}),
    });
  }

  /** @internal */
  protected checkInFlight(inFlight: number): number {
    if (!Number.isInteger(inFlight) || inFlight < 1) {
      throw new InvalidInput("inFlight must be a whole number, 1 or more");
    }
    return inFlight;
  }
}

/** What comes now or later, one after the other. */
export class Source<T> {
  readonly #iterator: AsyncIterator<T> | Iterator<T>;
  #isWaiting = false;

  constructor(values: Values<T>) {
    const own = values as
      { [Symbol.asyncIterator]?(): AsyncIterator<T>; [Symbol.iterator]?(): Iterator<T> } | undefined;
    const iterator = own?.[Symbol.asyncIterator]?.() ?? own?.[Symbol.iterator]?.();
    if (!iterator) {
      throw new InvalidInput("requests and inputs of a stream are an iterable, such as an array or a generator");
    }
    this.#iterator = iterator;
  }

  async next(): Promise<IteratorResult<T>> {
    this.#isWaiting = true;
    try {
      return await this.#iterator.next();
    } finally {
      this.#isWaiting = false;
    }
  }

  /** Ends it, and waits until it has ended; not where it still waits for a value, which may never come. */
  async return(): Promise<IteratorReturnResult<undefined>> {
    const returned = Promise.resolve(this.#iterator.return?.());
    if (this.#isWaiting) {
      returned.catch(() => {});
    } else {
      await returned;
    }
    return { done: true, value: undefined };
  }
}

/**
 * What items come to, step by step. Iterate over it for the steps; {@link Generation.response} is the whole answer.
 *
 * Leaving the loop, or `cancel`, stops the run at its next token.
 */
export class Generation implements AsyncIterableIterator<Partial, undefined, undefined> {
  readonly #calls: Calls;
  readonly #abort = new AbortController();
  readonly #begun: Promise<{ first: IteratorResult<GenerateResponse>; rest: AsyncIterator<GenerateResponse> }>;
  #isBegun = false;
  #response: Response | undefined;

  /** @internal */
  constructor(calls: Calls, start: (call: CallOptions) => Promise<AsyncIterable<GenerateResponse>>, options: Options) {
    this.#calls = calls;
    const signal = options.signal ? AbortSignal.any([options.signal, this.#abort.signal]) : this.#abort.signal;
    // The service begins its response with its first message, so that until then it can be tried again.
    this.#begun = calls.attempt({ ...options, signal }, async (call) => {
      const rest = messages(call, await start(call));
      return { first: await rest.next(), rest };
    });
    // Whoever asks for the next step is told.
    this.#begun.catch(() => {});
  }

  async next(): Promise<IteratorResult<Partial, undefined>> {
    if (this.#response) {
      return { done: true, value: undefined };
    }
    try {
      const { first, rest } = await this.#begun;
      const message = this.#isBegun ? await rest.next() : first;
      this.#isBegun = true;
      if (message.done) {
        throw new Unavailable("the service ended the call without an answer", { code: "UNAVAILABLE" });
      }
      const { result } = message.value as GenerateResponse;
      if (result.case === "partial") {
        return { done: false, value: partial(result.value) };
      }
      if (result.case === "response") {
        this.#response = new Response(result.value);
        // Nothing follows but the end.
        await rest.next().catch(() => {});
      }
      return { done: true, value: undefined };
    } catch (thrown) {
      throw this.#calls.error(thrown);
    }
  }

  async return(): Promise<IteratorResult<Partial, undefined>> {
    this.cancel();
    return { done: true, value: undefined };
  }

  /** The whole answer. Waits for it, and drops the steps that are still to come. */
  async response(): Promise<Response> {
    while (!(await this.next()).done);
    if (!this.#response) {
      throw new Unavailable("the service ended the call without an answer", { code: "UNAVAILABLE" });
    }
    return this.#response;
  }

  /** Stops the run. */
  cancel(): void {
    this.#abort.abort();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
