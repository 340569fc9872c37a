/** Worker: serves models as they are. */
import { serve } from "./realm";
import { Runner } from "./runner";

serve((onLost) => new Runner(onLost));
