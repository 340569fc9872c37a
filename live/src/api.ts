/** Api: the service that the page came from, over gRPC-Web. */

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { CapabilityService } from "./gen/webinfer/v1/capability_pb";
import { InferenceService } from "./gen/webinfer/v1/inference_pb";
import { ModelService } from "./gen/webinfer/v1/model_pb";
import { PoolService } from "./gen/webinfer/v1/pool_pb";

const transport = createGrpcWebTransport({ baseUrl: location.origin });

export const pools = createClient(PoolService, transport);
export const models = createClient(ModelService, transport);
export const inference = createClient(InferenceService, transport);
export const capabilities = createClient(CapabilityService, transport);

/** What went wrong with a call, for people. */
export function inWords(thrown: unknown): string {
  const error = ConnectError.from(thrown);
  // Where nobody answers, browsers tell little and each something else.
  const unreachable = error.code === Code.Unknown && error.cause instanceof TypeError;
  return unreachable ? "the service cannot be reached" : error.rawMessage || Code[error.code];
}
