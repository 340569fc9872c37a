// The cases with the client for Node: node test/conformance/node.mjs CASES.JSON [NAME]

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import * as webinfer from "webinfer";
import * as v1 from "webinfer/v1";
import { run } from "./runner.mjs";

const MEDIA = new URL("../../../../tests/media/", import.meta.url);
const [cases, name = ""] = process.argv.slice(2);
const good = await run(JSON.parse(readFileSync(cases, "utf8")), name, webinfer, v1, {
  name: "js",
  address: process.env.WEBINFER_ADDRESS,
  file: (file) => readFileSync(new URL(file, MEDIA)).toString("base64"),
  restart: () => execFileSync("sh", ["-c", process.env.WEBINFER_RESTART], { stdio: "ignore", timeout: 300_000 }),
  tell: (line) => console.log(line),
});
process.exitCode = good ? 0 : 1;
