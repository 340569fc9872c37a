// Embeds the lines of a file with a model that runs in browsers, and prints what is nearest to each.
//
//   node examples/neighbours.mjs sentences.txt --address localhost:50051

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Client, WebinferError } from "webinfer";

const USAGE = `usage: node neighbours.mjs FILE [--address HOST:PORT] [--model ID]

Embeds the lines of FILE with a model that runs in browsers, and prints what is nearest to each.

  --address HOST:PORT  where the service listens (localhost:50051)
  --model ID           id of the model (all-MiniLM-L6-v2)`;

function fail(message) {
  console.error(message);
  process.exit(1);
}

function read() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        address: { type: "string", default: "localhost:50051" },
        model: { type: "string", default: "all-MiniLM-L6-v2" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    if (positionals.length !== 1) {
      throw new TypeError("name one file");
    }
    return { ...values, file: positionals[0] };
  } catch (error) {
    return fail(`${error.message}\n${USAGE}`);
  }
}

function sentencesOf(file) {
  try {
    const lines = readFileSync(file, "utf8").split("\n");
    return lines.map((line) => line.trim()).filter(Boolean);
  } catch (error) {
    return fail(`${file} cannot be read: ${error.message}`);
  }
}

/** The product of two vectors, which is their cosine where both have unit length. */
function likeness(a, b) {
  return a.reduce((sum, value, at) => sum + value * b[at], 0);
}

const { file, address, model } = read();
const sentences = sentencesOf(file);
if (sentences.length < 2) {
  fail(`${file} has ${sentences.length} sentences; at least 2 are needed`);
}
const client = new Client(address);
try {
  const progress = ({ elapsedMs, phase, loadedBytes, totalBytes }) =>
    console.error(`${(elapsedMs / 1e3).toFixed(1)} s  ${phase}  ${loadedBytes} of ${totalBytes} bytes`);
  await client.models.load(model, { progress });
  const results = [];
  for await (const result of client.map(model, sentences)) {
    results.push(result);
  }
  for (const [at, { embedding }] of results.entries()) {
    const others = results.map((other, index) => (index === at ? -Infinity : likeness(embedding, other.embedding)));
    console.log(`${sentences[at]}\n    ${sentences[others.indexOf(Math.max(...others))]}`);
  }
  const ran = results.map(({ execution: it }) => `${it.backendUsed} in ${it.browser} ${it.browserVersion}`);
  console.error("ran on", [...new Set(ran)].join(", "));
} catch (error) {
  if (!(error instanceof WebinferError)) {
    throw error;
  }
  console.error(`${error.message} (${error.reason || error.code})`);
  process.exitCode = 1;
} finally {
  client.close();
}
