// Does what each line of standard input asks for, and answers with a line of JSON: times in microseconds.
//
//   calls COUNT FLOATS    round trips of a tensor of the model "identity", one after the other
//
// WEBINFER_ADDRESS=localhost:50051 node test/bench.mjs

import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { Client, Tensor } from "../dist/node.js";

const client = new Client(process.env.WEBINFER_ADDRESS);
for await (const line of createInterface({ input: process.stdin })) {
  const [count, floats] = line.split(" ").slice(1).map(Number);
  const data = new Float32Array(floats).fill(1);
  const times = [];
  for (let call = 0; call < count; call++) {
    const begun = performance.now();
    const response = await client.infer("identity", { tensors: { x: new Tensor(data, [floats]) } });
    assert.equal(response.results[0].tensors.y.data.length, floats);
    times.push((performance.now() - begun) * 1000);
  }
  console.log(JSON.stringify(times));
}
client.close();
