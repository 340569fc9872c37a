/** Worker that answers wrongly, as a broken backend would. For tests of the service alone; no binary carries it. */
import { serve } from "../src/realm";
import { Runner } from "../src/runner";
import { Wrong } from "./wrong";

serve((onLost) => new Wrong(new Runner(onLost)));
