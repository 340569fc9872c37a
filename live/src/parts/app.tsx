/** App: the parts of the page, in the order in which whoever is on call needs them. */

import { useEffect, useRef } from "preact/hooks";
import { models, pause, paused, pool } from "../store";
import { change } from "../theme";
import { Charts } from "./charts";
import { Failures } from "./failures";
import { Findings } from "./findings";
import { Header } from "./header";
import { Help } from "./help";
import { Models } from "./models";
import { Numbers } from "./numbers";
import { Pool } from "./pool";
import { Try } from "./try";

export function App() {
  const help = useRef<HTMLDialogElement>(null);
  const openHelp = () => help.current?.showModal();
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      const go = GO[event.key];
      if (event.key === "?") openHelp();
      else if (event.key === "p") pause();
      else if (event.key === "d") change();
      else if (go) jump(go);
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, []);
  return (
    <>
      <a class="skip" href="#findings">
        To the findings
      </a>
      <Header openHelp={openHelp} />
      <main>
        {pool.value && models.value ? (
          <>
            <Findings pool={pool.value} models={models.value} />
            <Numbers />
            <Charts still={paused.value !== undefined} />
            <Models models={models.value} />
            <Pool pool={pool.value} />
            <Failures />
            <Try models={models.value} />
          </>
        ) : (
          <p class="empty waiting" role="status">
            Waiting for the service to tell what it does.
          </p>
        )}
      </main>
      <Help dialog={help} />
    </>
  );
}

/** Where the keys go. */
const GO: Record<string, string> = { c: "charts", m: "models", b: "pool", f: "failures", t: "try" };

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, textarea, select, dialog *");
}

function jump(id: string): void {
  const part = document.getElementById(id);
  part?.scrollIntoView();
  const field = id === "try" ? part?.querySelector<HTMLElement>("select, textarea") : undefined;
  (field ?? part)?.focus({ preventScroll: field === undefined });
}
