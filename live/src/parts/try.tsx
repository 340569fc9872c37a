/** Try: asks a model something, and shows the answer with the record of what ran. */

import { useEffect, useRef, useState } from "preact/hooks";
import { inference, inWords } from "../api";
import { create } from "@bufbuild/protobuf";
import { GenerateRequestSchema, type InferResponse } from "../gen/webinfer/v1/inference_pb";
import { ModelState, type Model } from "../gen/webinfer/v1/model_pb";
import { time } from "../format";
import { request, texts, type Given } from "../request";
import { Answer } from "./answer";
import { Fields } from "./fields";
import { Record } from "./record";

const DEADLINE_MS = 300_000;

/** What a try has come to. */
interface Outcome {
  given: Given;
  /** Text that has come so far. */
  text: string;
  response?: InferResponse;
  error?: string;
  /** Microseconds that it took. */
  took?: number;
}

export function Try({ models }: { models: readonly Model[] }) {
  const able = models.filter(({ state }) => SERVING.includes(state));
  const [id, setId] = useState<string>();
  const model = able.find(({ spec }) => spec?.id === id) ?? able[0];
  const [outcome, setOutcome] = useState<Outcome>();
  const running = useRef<AbortController>(undefined);
  const isRunning = outcome !== undefined && !outcome.response && outcome.error === undefined;
  useEffect(() => () => running.current?.abort(), []);

  const run = async (given: Given) => {
    running.current?.abort();
    const abort = (running.current = new AbortController());
    const begun = performance.now();
    let outcome: Outcome = { given, text: "" };
    const tell = (more: Partial<Outcome>) => {
      outcome = { ...outcome, ...more };
      if (running.current === abort) setOutcome(outcome);
    };
    tell({});
    try {
      const message = create(GenerateRequestSchema, { request: request(given) });
      const call = { signal: abort.signal, timeoutMs: DEADLINE_MS };
      for await (const { result } of inference.generate(message, call)) {
        if (result.case === "partial") {
          tell({ text: (result.value.restarted ? "" : outcome.text) + result.value.text });
        } else if (result.case === "response") {
          tell({ response: result.value, took: (performance.now() - begun) * 1000 });
        }
      }
    } catch (thrown) {
      tell({ error: abort.signal.aborted ? "Stopped." : thrown instanceof Error ? inWords(thrown) : String(thrown) });
    }
  };

  return (
    <section id="try" tabIndex={-1} aria-labelledby="try-title">
      <h2 id="try-title">Try a model</h2>
      {model?.spec ? (
        <div class="try">
          <div class="card">
            <label class="field">
              Model
              <select value={model.spec.id} onChange={(event) => setId(event.currentTarget.value)}>
                {able.map(({ spec }) => (
                  <option key={spec?.id} value={spec?.id}>
                    {spec?.id} ({spec?.task})
                  </option>
                ))}
              </select>
            </label>
            <Fields
              key={model.spec.id}
              model={model.spec.id}
              task={model.spec.task}
              isRunning={isRunning}
              run={run}
              stop={() => running.current?.abort()}
            />
          </div>
          <div class="card answer" aria-live="polite" aria-busy={isRunning}>
            {outcome ? <Result {...outcome} isRunning={isRunning} /> : <p class="empty">The answer comes here.</p>}
          </div>
        </div>
      ) : (
        <p class="empty card">No model is loaded. Load one over the API, or start the service with --load.</p>
      )}
    </section>
  );
}

const SERVING = [ModelState.READY, ModelState.ASLEEP, ModelState.SIMULATED, ModelState.LOADING];

/** The items that an execution ran, where there were several. */
function ran({ results, executions }: InferResponse, index: number): string {
  const items = results.flatMap(({ execution }, item) => (execution === index ? [item + 1] : []));
  return executions.length > 1 ? `What ran ${items.length > 1 ? "items" : "item"} ${items.join(", ")}` : "What ran it";
}

function Result({ given, text, response, error, took, isRunning }: Outcome & { isRunning: boolean }) {
  return (
    <>
      <h3>
        {given.model} {took !== undefined && <small>answered in {time(took)}</small>}
      </h3>
      {isRunning && (
        <p class="made">
          {text}
          <span class="caret" aria-label="running" />
        </p>
      )}
      {error !== undefined && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
      {response && (
        <>
          <Answer response={response} texts={texts(given)} file={given.file} documents={given.text} />
          {response.executions.map((execution, index) => (
            <Record key={index} execution={execution} items={ran(response, index)} />
          ))}
        </>
      )}
    </>
  );
}
