/** Realm: what a worker is: one replica behind one link. */
import { Dispatch, type Replica } from "./dispatch";
import { type Failure, failed } from "./failure";
import { Link } from "./link";
import { Log } from "./log";

let link: Link | undefined;
const log = new Log((body) => link?.send(0n, body) ?? false);
log.watchConsole();

/** Reports what came unasked and leaves nothing to hope for. */
function broke(error: unknown): boolean {
  return link?.send(0n, { case: "failed", value: failed(error, true) }) ?? false;
}

// An error that was reported over the link is kept from the page, which would report it again.
addEventListener("error", (event) => broke(event.error ?? event.message) && event.preventDefault());
addEventListener("unhandledrejection", (event) => broke(event.reason) && event.preventDefault());

/** Serves with a replica, which is made with a way to tell that nothing is left to hope for. */
export function serve<Reading>(make: (onLost: (failure: Failure) => void) => Replica<Reading>): void {
  // The page's one message: path and query of this worker's link.
  addEventListener(
    "message",
    (event: MessageEvent<string>) => {
      const opened = new Link(event.data, {
        onOpen() {
          opened.beat();
          log.flush();
        },
        onFrame: (frame) => dispatch.onFrame(frame),
        // Without its link a worker is of no use, and holds memory.
        onClose: () => close(),
      });
      link = opened;
      const dispatch = new Dispatch(make(broke), (call, body) => opened.send(call, body));
    },
    { once: true },
  );
}
