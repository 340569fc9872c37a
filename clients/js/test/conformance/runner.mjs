// Runs the cases of clients/conformance with a client: see the README there. The same in Node and in a page.

import { fromJson, toJson } from "@bufbuild/protobuf";

const TIMEOUT_MS = 30_000;

/**
 * @param webinfer The client's module.
 * @param v1 The messages.
 * @param world What the place has: `name` of the client, `address`, `file(name)` that gives a file of tests/media in base64,
 *   `restart()`, and `tell(line)`.
 */
export async function run({ cases, models }, name, webinfer, v1, world) {
  const client = new webinfer.Client(world.address, { clientName: world.name });
  const resolve = (value) => resolveAll(value, world);
  let good = true;
  const ids = [];
  for (const model of models) {
    const spec = await resolve(model);
    await client.models.register(spec);
    await client.models.load(spec.id);
    ids.push(spec.id);
  }
  for (const one of cases.filter((each) => each.name.includes(name))) {
    let why;
    try {
      why = await runCase(one, { client, webinfer, v1, resolve, world });
    } catch (error) {
      why = `${error?.stack ?? error}`;
    }
    good &&= !why;
    await world.tell(JSON.stringify({ name: one.name, ok: !why, ...(why ? { why } : {}) }));
  }
  for (const id of ids) {
    // A restarted service has forgotten it already.
    await client.models.unregister(id).catch(() => {});
  }
  client.close();
  return good;
}

async function runCase(one, place) {
  const { client, v1, resolve, world } = place;
  if (one.restart) {
    await world.restart();
  }
  const timeoutMs = one.timeout_ms ?? TIMEOUT_MS;
  const message = async (value) => fromJson(v1.InferRequestSchema, await resolve(value));
  if (one.call === "stream") {
    return await runStream(one, timeoutMs, message, place);
  }
  const request = await message(one.request);
  const partials = [];
  const call = async () => {
    const abort = new AbortController();
    const options = { ...told(request, v1), timeoutMs, signal: abort.signal };
    if (one.call === "infer") {
      const answer = client.infer(request.model, request.items, options);
      if (one.cancel_after === "send") {
        abort.abort();
      }
      return await answer;
    }
    const generation = client.generate(request.model, request.items, options);
    for await (const partial of generation) {
      partials.push(partial);
      if (one.cancel_after === "first") {
        abort.abort();
      }
    }
    return await generation.response();
  };
  const outcomes = await Promise.all(Array.from({ length: one.times ?? 1 }, () => outcome(call(), place)));
  for (const actual of outcomes) {
    const why = await check(one.expect, actual, request, partials, place);
    if (why) {
      return why;
    }
  }
  return "";
}

async function runStream(one, timeoutMs, message, place) {
  const { client, v1 } = place;
  const partials = [];
  const messages = new Map();
  for (const { id, request } of one.requests) {
    messages.set(id, await message(request));
  }
  const requests = one.requests.map(({ id, partials: wanted }) => ({
    model: messages.get(id).model,
    inputs: messages.get(id).items,
    ...told(messages.get(id), v1),
    onPartial: wanted ? (partial) => partials.push(partial) : undefined,
  }));
  const answers = new Map();
  const abort = new AbortController();
  const stream = async () => {
    const options = { inFlight: requests.length, timeoutMs, signal: abort.signal };
    for await (const answer of client.stream(requests, options)) {
      answers.set(one.requests[answer.index].id, answer.response ?? answer.error);
      if (one.cancel_after === "first") {
        abort.abort();
      }
    }
  };
  const end = await outcome(stream(), place);
  if (!one.expect.answers) {
    // Where each request is a call of its own, each says for itself that it was cancelled.
    const last = end ?? [...answers.values()].at(-1);
    return await check(one.expect, last, [...messages.values()][0], partials, place);
  }
  if (end) {
    return `${end}`;
  }
  for (const [id, expect] of Object.entries(one.expect.answers)) {
    const { answers: _, ...shared } = one.expect;
    const why = await check({ ...shared, ...expect }, answers.get(id), messages.get(id), partials, place);
    if (why) {
      return `${id}: ${why}`;
    }
  }
  return "";
}

function told(request, v1) {
  const priority = v1.Priority[request.priority].toLowerCase();
  return { parameters: request.parameters, priority: priority === "unspecified" ? undefined : priority };
}

async function outcome(call, { webinfer }) {
  try {
    return await call;
  } catch (error) {
    if (error instanceof webinfer.WebinferError) {
      return error;
    }
    throw error;
  }
}

async function check(expect, actual, request, partials, { webinfer, v1, resolve }) {
  if (expect.error) {
    if (!(actual instanceof webinfer.WebinferError)) {
      return `expected ${expect.error.code}, got an answer`;
    }
    const { code, reason, fields, retryAfterMs } = actual;
    const seen = { code, reason, fields, retry: retryAfterMs !== undefined };
    const wrong = Object.entries(expect.error).filter(([key, value]) => `${seen[key]}` !== `${value}`);
    return wrong.map(([key, value]) => `${key} ${seen[key]} in place of ${value}: ${actual}`).join("; ");
  }
  if (!(actual instanceof webinfer.Response)) {
    return `expected an answer, got ${actual}`;
  }
  const got = toJson(v1.InferResponseSchema, actual.message);
  const wanted = await resolve(expect.response);
  return (
    part("response", wanted, got, request, expect.tolerance ?? 0.001) ||
    checkPartials(expect.partials, partials, actual)
  );
}

function checkPartials(wanted, partials, response) {
  if (!wanted) {
    return "";
  }
  if (partials.length < wanted.at_least) {
    return `expected at least ${wanted.at_least} partials, got ${partials.length}`;
  }
  const text = partials.reduce((before, { restarted, text }) => (restarted ? "" : before) + text, "");
  return !wanted.text || text.trim() === response.only.text.trim() ? "" : `the partials have ${JSON.stringify(text)}`;
}

function part(path, wanted, actual, request, tolerance) {
  if (actual === undefined) {
    return `${path} is not there`;
  }
  if (wanted === "@any") {
    return "";
  }
  if (wanted === "@request") {
    const [sent] = Object.values(request.items[0].input.value.tensors);
    return actual === base64(sent.data) ? "" : `${path} has not the bytes that were sent`;
  }
  if (Array.isArray(wanted)) {
    if (!Array.isArray(actual) || actual.length !== wanted.length) {
      return `${path} has not ${wanted.length} elements`;
    }
    return first(wanted.map((value, at) => () => part(`${path}[${at}]`, value, actual[at], request, tolerance)));
  }
  if (typeof wanted === "object") {
    return first(
      Object.entries(wanted).map(
        ([key, value]) =>
          () =>
            part(`${path}.${key}`, value, actual[key], request, tolerance),
      ),
    );
  }
  if (typeof wanted === "number" && typeof actual === "number") {
    const near = Math.abs(wanted - actual) <= tolerance * Math.max(1, Math.abs(wanted));
    return near ? "" : `${path}: expected ${wanted}, got ${actual}`;
  }
  // 64-bit numbers are strings in protobuf's JSON form.
  return `${wanted}` === `${actual}` ? "" : `${path}: expected ${wanted}, got ${actual}`;
}

function first(checks) {
  for (const check of checks) {
    const why = check();
    if (why) {
      return why;
    }
  }
  return "";
}

async function resolveAll(value, world) {
  if (Array.isArray(value)) {
    return await Promise.all(value.map((each) => resolveAll(each, world)));
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).map(async ([key, each]) => [key, await resolveAll(each, world)]);
    return Object.fromEntries(await Promise.all(entries));
  }
  if (typeof value !== "string") {
    return value;
  }
  const [kind, rest] = value.split(/:(.*)/s);
  switch (kind) {
    case "@file":
      return await world.file(rest);
    case "@zeros":
      return base64(new Uint8Array(Number(rest)));
    case "@ramp":
      return base64(Uint8Array.from({ length: Number(rest) }, (_, at) => at % 256));
    case "@letters":
      return "x".repeat(Number(rest));
    default:
      return value.replaceAll("{client}", world.name);
  }
}

/** Base64, with pieces that the call stack has room for. */
export function base64(bytes) {
  const pieces = [];
  for (let at = 0; at < bytes.length; at += 0x6000) {
    pieces.push(btoa(String.fromCharCode(...bytes.subarray(at, at + 0x6000))));
  }
  return pieces.join("");
}
