// The cases in a page. It asks the server that it comes from for what a page does not have.

import * as v1 from "webinfer/v1";
import * as webinfer from "webinfer/web";
import { base64, run } from "./runner.mjs";

async function ask(path, body = "") {
  const response = await fetch(path, { method: "POST", body });
  if (!response.ok) {
    throw new Error(`${path}: ${await response.text()}`);
  }
  return response;
}

try {
  const { file, name, client, address } = await (await ask("/cases")).json();
  const good = await run(file, name, webinfer, v1, {
    name: client,
    address,
    file: async (media) => base64(new Uint8Array(await (await ask(`/media/${media}`)).arrayBuffer())),
    restart: async () => void (await ask("/restart")),
    tell: async (line) => void (await ask("/line", line)),
  });
  await ask("/end", good ? "ok" : "failed");
} catch (error) {
  await ask("/end", `${error?.stack ?? error}`);
}
