/** What both entry points export. */

export type { Options, Settings } from "./calls.js";
export {
  Answer,
  BaseClient,
  Generation,
  type Parameters,
  type Request,
  type RequestOptions,
  type StreamOptions,
  type Values,
} from "./client.js";
export {
  Cancelled,
  Closed,
  DeadlineExceeded,
  InvalidInput,
  NotFound,
  Overloaded,
  Unavailable,
  WebinferError,
  type ErrorFacts,
} from "./errors.js";
export type { FileLike, ImageLike, Input, Message, Pixels, Samples } from "./inputs.js";
export { Models, type LoadStep, type Model, type ModelSpec } from "./models.js";
export {
  Response,
  Result,
  type Execution,
  type Generated,
  type Output,
  type Outputs,
  type Partial,
  type Timings,
  type Transcript,
} from "./results.js";
export { Tensor, type TensorData, type TensorType } from "./tensors.js";
