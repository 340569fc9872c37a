/** Record: what really ran an answer. */

import { Origin, type Execution } from "../gen/webinfer/v1/execution_pb";
import { count, nameOf, time } from "../format";
import { HOPS } from "../history";
import { backendName, HardwareBadge } from "./badge";

export function Record({ execution, items }: { execution: Execution; items: string }) {
  const { backendRequested, backendUsed, fallbackReason, hardware, adapter, timings, nodePlacements } = execution;
  const us = HOPS.map((hop) => Number(timings?.[`${hop}Us`] ?? 0));
  const all = us.reduce((sum, hop) => sum + hop, 0);
  const facts: [string, preact.ComponentChildren][] = [
    ["ran in", `${execution.browser} ${execution.browserVersion}, ${execution.workerId}`],
    [
      "on",
      <>
        {backendName(backendUsed)} <HardwareBadge hardware={hardware} adapter={adapter} />
      </>,
    ],
    ["precision", `${execution.dtype}${execution.threads ? `, ${count(execution.threads, "thread")}` : ""}`],
    [
      "batch",
      `${count(execution.batchSize, "item")}, ${nameOf(Origin, execution.origin)}, ${count(execution.retries, "retry", "retries")}`,
    ],
    ["nodes", nodePlacements.map(({ provider, nodes }) => `${nodes} on ${provider}`).join(", ") || "not told"],
    ["runtime", `transformers.js ${execution.transformersVersion}, ONNX Runtime Web ${execution.onnxruntimeVersion}`],
    ["model", <code>{execution.modelSha256.slice(0, 16) || "–"}</code>],
  ];
  return (
    <details class="record" open>
      <summary>{items}</summary>
      {execution.simulated && <p class="error">Nothing ran: this answer is a placeholder.</p>}
      {fallbackReason && (
        <p class="error">
          {backendName(backendRequested)} was asked for: {fallbackReason}
        </p>
      )}
      <dl class="facts-list">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <span class="hops wide" aria-hidden="true">
        {HOPS.map((hop, index) => (
          <i key={hop} class={`c${index + 1}`} style={{ flexGrow: all ? (us[index] ?? 0) / all : 0 }} />
        ))}
      </span>
      <ul role="list" class="legend">
        {HOPS.map((hop, index) => (
          <li key={hop}>
            <i class={`dot c${index + 1}`} /> {hop} <b>{time(us[index] ?? 0)}</b>
          </li>
        ))}
      </ul>
    </details>
  );
}
