/** Make: seconds, pools and models for tests. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Backend } from "../src/gen/webinfer/v1/execution_pb";
import { ModelSchema, ModelSpecSchema, ModelState } from "../src/gen/webinfer/v1/model_pb";
import { BrowserState, ModelActivitySchema, PoolStatusSchema, SecondSchema } from "../src/gen/webinfer/v1/pool_pb";

export function second(end: number, ...models: MessageInitShape<typeof ModelActivitySchema>[]) {
  return create(SecondSchema, { endMs: BigInt(end * 1000), models });
}

export function pool(init: MessageInitShape<typeof PoolStatusSchema> = {}) {
  const browsers = [{ id: "browser-0-1", state: BrowserState.READY }];
  return create(PoolStatusSchema, { wantedBrowsers: 1, browsers, ...init });
}

export function model(id: string, init: MessageInitShape<typeof ModelSchema> = {}) {
  return create(ModelSchema, {
    spec: create(ModelSpecSchema, { id, backends: [Backend.WASM] }),
    state: ModelState.READY,
    ...init,
  });
}
