/** Probe: a worker that lives for one question, what the browser can do. */
import { capabilities } from "./capabilities";

postMessage(await capabilities());
