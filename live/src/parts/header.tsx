/** Header: whether the service is there, where to go, and what the page is set to. */

import { useEffect, useState } from "preact/hooks";
import { age, clock } from "../format";
import { chosen, link, models, pause, paused, type Link } from "../store";
import { change, isDark } from "../theme";

export function Header({ openHelp }: { openHelp: () => void }) {
  return (
    <header>
      <div class="bar">
        <span class="brand">
          <img src="icon.svg" alt="" width="24" height="24" />
          <h1>webinfer</h1>
        </span>
        <State link={link.value} />
        <nav aria-label="Parts of the page">
          <a href="#charts">Charts</a>
          <a href="#models">Models</a>
          <a href="#pool">Browsers</a>
          <a href="#failures">Failures</a>
          <a href="#try">Try</a>
        </nav>
        <span class="tools">
          <label>
            <span class="unseen">Model that the numbers and charts are about</span>
            <select
              value={chosen.value ?? ""}
              onChange={(event) => (chosen.value = event.currentTarget.value || undefined)}
            >
              <option value="">all models</option>
              {models.value?.map(({ spec }) => (
                <option key={spec?.id} value={spec?.id}>
                  {spec?.id}
                </option>
              ))}
            </select>
          </label>
          <button type="button" aria-pressed={paused.value !== undefined} onClick={pause}>
            {paused.value ? "Go on" : "Pause"}
          </button>
          <button type="button" onClick={change} aria-label={isDark.value ? "Light colours" : "Dark colours"}>
            {isDark.value ? "☀" : "☾"}
          </button>
          <button type="button" onClick={openHelp} aria-label="Help and keys">
            ?
          </button>
        </span>
      </div>
      {link.value.state === "lost" && <Lost {...link.value} />}
    </header>
  );
}

function State({ link }: { link: Link }) {
  const [tone, text] = { connecting: ["info", "connecting"], open: ["good", "live"], lost: ["bad", "gone"] }[
    link.state
  ];
  return (
    <span class={`pill ${tone}`} role="status">
      {text}
    </span>
  );
}

/** The service is gone: since when, why, and that it is tried again. */
function Lost({ since, why }: { since: number; why: string }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return (
    <p class="lost" role="alert">
      <strong>The service is gone</strong> since {clock(since)}
      <span aria-hidden="true"> ({age(now - since)})</span>: {why}. What is below was so then. The page tries to reach
      it again.
    </p>
  );
}
