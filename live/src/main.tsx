/** Main: puts the page together and begins to watch the service. */

import { render } from "preact";
import "uplot/dist/uPlot.min.css";
import "./style.css";
import { App } from "./parts/app";
import { begin } from "./theme";
import { watch } from "./watch";

begin();
render(<App />, document.body);
void watch();
