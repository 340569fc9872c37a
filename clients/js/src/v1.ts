/** The messages and services of the API, as generated. */

export type { Status } from "./gen/google/rpc/status_pb.js";
export * from "./gen/webinfer/v1/benchmark_pb.js";
export * from "./gen/webinfer/v1/capability_pb.js";
export * from "./gen/webinfer/v1/debug_pb.js";
export * from "./gen/webinfer/v1/execution_pb.js";
export * from "./gen/webinfer/v1/inference_pb.js";
export * from "./gen/webinfer/v1/model_pb.js";
export * from "./gen/webinfer/v1/pool_pb.js";
