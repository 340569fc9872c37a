/** Findings: what is wrong, in words, at the top. */

import { useEffect } from "preact/hooks";
import { findings, type Finding } from "../findings";
import type { Model } from "../gen/webinfer/v1/model_pb";
import type { PoolStatus } from "../gen/webinfer/v1/pool_pb";
import { failed, seconds } from "../store";

const WORDS = { bad: "broken", warn: "attention", info: "note" };

export function Findings({ pool, models }: { pool: PoolStatus; models: readonly Model[] }) {
  const all = findings(pool, models, seconds.value, failed.value);
  const many = (tone: Finding["tone"]) => all.filter((finding) => finding.tone === tone).length;
  const words = [`${many("bad")} broken`, `${many("warn")} to look at`]
    .filter((words) => !words.startsWith("0"))
    .join(", ");
  useEffect(() => {
    document.title = words ? `${words} · webinfer` : "webinfer";
  }, [words]);
  return (
    <section id="findings" aria-label="Findings" tabIndex={-1}>
      <p class="unseen" role="status">
        {words || "Nothing is broken"}
      </p>
      {all.length === 0 ? (
        <p class="finding good">
          <span class="badge good">fine</span> Nothing is broken, and nothing waits for long.
        </p>
      ) : (
        <ul role="list">
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
