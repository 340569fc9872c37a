/** Findings: what is wrong, in words, at the top. */

import { findings, type Finding } from "../findings";
import type { Model } from "../gen/webinfer/v1/model_pb";
import type { PoolStatus } from "../gen/webinfer/v1/pool_pb";
import { failed, seconds } from "../store";

const WORDS = { bad: "broken", warn: "attention", info: "note" };

export function Findings({ pool, models }: { pool: PoolStatus; models: readonly Model[] }) {
  const all = findings(pool, models, seconds.value, failed.value);
  return (
    <section id="findings" aria-label="Findings" tabIndex={-1}>
      {all.length === 0 ? (
        <p class="finding good">
          <span class="badge good">fine</span> Nothing is broken, and nothing waits for long.
        </p>
      ) : (
        <ul role="list" aria-live="polite">
          {all.map((finding) => (
            <One key={finding.text} {...finding} />
          ))}
        </ul>
      )}
    </section>
  );
}

function One({ tone, text, at }: Finding) {
  return (
    <li class={`finding ${tone}`}>
      <span class={`badge ${tone}`}>{WORDS[tone]}</span> <a href={`#${at}`}>{text}</a>
    </li>
  );
}
