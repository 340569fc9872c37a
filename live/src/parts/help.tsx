/** Help: the keys, and what the words mean. */

import type { RefObject } from "preact";

const KEYS = [
  ["c", "to the charts"],
  ["m", "to the models"],
  ["b", "to the browsers"],
  ["f", "to the failures"],
  ["t", "to the box that tries a model"],
  ["p", "hold the charts, and let them go on"],
  ["d", "light or dark"],
  ["?", "this help"],
  ["Esc", "close it"],
] as const;

export function Help({ dialog }: { dialog: RefObject<HTMLDialogElement | null> }) {
  return (
    <dialog ref={dialog} aria-labelledby="help-title">
      <h2 id="help-title">Keys and words</h2>
      <dl class="keys">
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p>
        Click a model to see its numbers and charts alone. Latency is the time from admission to answer; of all models
        together it is that of the slowest one. A batch waits in the <b>queue</b> and for its worker, and is sent over
        the <b>bridge</b>; in the worker it is made ready (<b>preprocess</b>), runs (<b>inference</b>) and becomes
        answers (<b>postprocess</b>).
      </p>
      <p>
        While the page is hidden it does not ask the service; the last five minutes are there again when it is looked
        at. In a terminal, <code>webinfer top</code> shows the same.
      </p>
      <form method="dialog">
        <button autofocus>Close</button>
      </form>
    </dialog>
  );
}
