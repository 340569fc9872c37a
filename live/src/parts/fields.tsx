/** Fields: what a model is asked, in the form that its task takes. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { empty, type Given } from "../request";
import { hasPicture, TASKS, type Task } from "../tasks";

/** A task that is newer than the page. */
const UNKNOWN: Task = { inputs: [], parameters: [], example: "" };

interface Props {
  model: string;
  task: string;
  isRunning: boolean;
  run: (given: Given) => void;
  stop: () => void;
}

export function Fields({ model, task, isRunning, run, stop }: Props) {
  const [given, setGiven] = useState(empty(model, task));
  const set = (more: Partial<Given>) => setGiven((given) => ({ ...given, ...more }));
  const { inputs, parameters } = TASKS[task] ?? UNKNOWN;
  if (inputs.length === 0) {
    return (
      <p class="empty">A model of the task {task} takes tensors. Call it from a client, or with webinfer infer.</p>
    );
  }
  const { input } = given;
  const hasText = ["text", "context", "query", "chat"].includes(input);
  const takesPicture = input === "image" || input === "document" || (input === "chat" && hasPicture(task));
  const submit = (event: Event) => {
    event.preventDefault();
    run(given);
  };
  return (
    <form onSubmit={submit}>
      {inputs.length > 1 && (
        <fieldset class="choice">
          <legend>Give it</legend>
          {inputs.map((kind) => (
            <label key={kind}>
              <input type="radio" name="input" checked={kind === input} onChange={() => set({ input: kind })} /> a{" "}
              {kind}
            </label>
          ))}
        </fieldset>
      )}
      {input === "query" && <Line name="Query" value={given.question} set={(question) => set({ question })} />}
      {(input === "context" || input === "document") && (
        <Line name="Question" value={given.question} set={(question) => set({ question })} />
      )}
      {takesPicture && <File name="Picture (PNG, JPEG, WebP, GIF)" accept="image/*" set={(file) => set({ file })} />}
      {input === "audio" && <File name="Sound (WAV, FLAC, MP3, Ogg)" accept="audio/*" set={(file) => set({ file })} />}
      {hasText && (
        <Area name={textName(given)} value={given.text} set={(text) => set({ text })} run={() => run(given)} />
      )}
      {parameters.includes("labels") && (
        <Area
          name="Labels to choose from, one a line"
          value={given.labels}
          set={(labels) => set({ labels })}
          run={() => run(given)}
        />
      )}
      {parameters.includes("length") && (
        <Field name="Most tokens">
          <input
            type="number"
            min="1"
            max="4096"
            required
            value={given.length}
            onInput={(event) => set({ length: event.currentTarget.valueAsNumber || 1 })}
          />
        </Field>
      )}
      {parameters.includes("timestamps") && (
        <label class="check">
          <input
            type="checkbox"
            checked={given.timestamps}
            onChange={(event) => set({ timestamps: event.currentTarget.checked })}
          />{" "}
          with times, where the model tells them
        </label>
      )}
      {parameters.includes("languages") && (
        <>
          <Line name="From, as the model names it" value={given.source} set={(source) => set({ source })} />
          <Line name="To" value={given.target} set={(target) => set({ target })} />
        </>
      )}
      <p class="buttons">
        <button class="main">Run</button>
        {isRunning && (
          <button type="button" onClick={stop}>
            Stop
          </button>
        )}
      </p>
    </form>
  );
}

function textName({ input, task }: Given): string {
  const names = { context: "Text that has the answer", query: "Documents, one a line", chat: "What you say" };
  return names[input as keyof typeof names] ?? (task === "feature-extraction" ? "Texts, one a line" : "Text");
}

function Field({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <label class="field">
      {name}
      {children}
    </label>
  );
}

function Line({ name, value, set }: { name: string; value: string; set: (value: string) => void }) {
  return (
    <Field name={name}>
      <input value={value} onInput={(event) => set(event.currentTarget.value)} />
    </Field>
  );
}

/** Lines; Ctrl and Enter send them. */
function Area(props: { name: string; value: string; set: (value: string) => void; run: () => void }) {
  const { name, value, set, run } = props;
  const send = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
  };
  return (
    <Field name={name}>
      <textarea rows={4} value={value} onInput={(event) => set(event.currentTarget.value)} onKeyDown={send} />
    </Field>
  );
}

function File(props: { name: string; accept: string; set: (file: Uint8Array<ArrayBuffer> | undefined) => void }) {
  const { name, accept, set } = props;
  const take = async (input: HTMLInputElement) => {
    const file = input.files?.[0];
    set(undefined);
    const bytes = await file?.arrayBuffer().catch(() => undefined);
    // Another one may have been chosen meanwhile.
    if (input.files?.[0] === file) set(bytes && new Uint8Array(bytes));
  };
  return (
    <Field name={name}>
      <input type="file" accept={accept} onChange={(event) => void take(event.currentTarget)} />
    </Field>
  );
}
