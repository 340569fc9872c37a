"""Pool: browsers, workers and replicas, and the service's own process."""

from .panels import OF_INSTANCE, dashboard, series
from .queries import INSTANCE, busy, grown, quantiles, rate, total

POOL = dashboard(
    "pool",
    "Browsers, workers and replicas: what is up, what was lost and why; and the service's own process.",
    OF_INSTANCE,
    {
        "Browsers": [
            series(
                "Browsers by state",
                "With the cause of the last loss where one is not ready, or why it is to be replaced. One that backs "
                "off is tried again by itself; `webinfer pool log` has its last words.",
                {
                    "{{browser}} {{state}} {{reason}}": total(
                        f"webinfer_browsers{{{INSTANCE}}}", "browser, state, reason"
                    )
                    + " > 0"
                },
                stack=True,
            ),
            series(
                "Ready, wanted, spare",
                "Ready should be wanted and spares together. Wanted moves with the work where --min-browsers is below "
                "--browsers.",
                {
                    "ready": f'sum(webinfer_browsers{{{INSTANCE}, state="ready"}})',
                    "wanted": f"sum(webinfer_browsers_wanted{{{INSTANCE}}})",
                    "spares": f"sum(webinfer_spare_browsers{{{INSTANCE}}})",
                },
            ),
            series(
                "Starts",
                "Browsers that were started. Each needs a reason: a loss, a recycle, or more work.",
                {"{{instance}}": grown("webinfer_browser_starts_total", "instance")},
                bars=True,
            ),
            series(
                "Losses by cause",
                "Browsers that ended without being asked to. killed: something outside, such as the system short of "
                "memory; crashed and gpu_lost: the browser or its driver; silent and stopped: it hung; no_start: see "
                "`webinfer doctor`.",
                {"{{cause}}": grown("webinfer_browser_ends_total", "cause")},
                bars=True,
            ),
            series(
                "Recycles by reason",
                "Browsers that were replaced before they failed. Many by memory: the browser leaks, or "
                "--recycle-memory is below what the models need.",
                {"{{worn}}": grown("webinfer_browser_recycles_total", "worn")},
                bars=True,
            ),
            series(
                "Time to start",
                "From the start to a linked page. It grows when the machine is short of cores or memory.",
                quantiles("webinfer_browser_start_seconds", "browser", "{{browser}}", shares=(0.5, 0.95)),
                "s",
            ),
        ],
        "Workers and replicas": [
            series(
                "Workers by state",
                "starting and loading should pass; leaving ends its work.",
                {"{{state}}": total(f"webinfer_workers{{{INSTANCE}}}", "state")},
                stack=True,
            ),
            series(
                "Workers by model",
                "How the workers are shared out. It moves with the work.",
                {"{{model}}": total(f"webinfer_workers{{{INSTANCE}}}", "model") + " > 0"},
                stack=True,
            ),
            series(
                "Replicas missing by model",
                "Replicas that should be there and are not. For longer than a load takes: see the model's loads and "
                "breakers.",
                {
                    "{{model}}": total(f"webinfer_replicas_wanted{{{INSTANCE}}}", "model")
                    + " - on (model) ("
                    + total(f"webinfer_replicas{{{INSTANCE}}}", "model")
                    + " or "
                    + total(f"webinfer_replicas_wanted{{{INSTANCE}}}", "model")
                    + " * 0)"
                },
                levels=(1,),
            ),
            series(
                "Losses of workers by cause",
                "The causes of browsers, and: stuck, a run that took far too long; out_of_memory; wrong_answers, "
                "against the first replica; failed, by the runtime; confused, against the protocol.",
                {"{{cause}}": grown("webinfer_worker_ends_total", "cause")},
                bars=True,
            ),
            series(
                "Breakers that are not closed",
                "Loads that fail again and again are stopped: open waits, half_open tries once. The log says what "
                "each load died of.",
                {
                    "{{model}} {{browser}} {{backend}} {{state}}": total(
                        f"webinfer_breakers{{{INSTANCE}}}", "model, browser, backend, state"
                    )
                },
                levels=(1,),
            ),
            series(
                "Busy workers",
                "Share of the ready workers' time that they compute.",
                {"{{instance}}": busy("instance")},
                "percentunit",
                (0.8, 0.95),
            ),
        ],
        "Memory of browsers": [
            series(
                "Memory of each browser's processes",
                "The whole tree, by place in the pool. A line that climbs for hours is a leak: set --recycle-memory "
                "or --recycle-age. Steps are models that were loaded.",
                {
                    "{{instance}} place {{place}} {{browser}}": total(
                        f"webinfer_browser_memory_bytes{{{INSTANCE}}}", "instance, place, browser"
                    )
                },
                "bytes",
                width=12,
            ),
            series(
                "JavaScript heaps",
                "Page and workers, WebAssembly counted, which has the models' weights. 0 where the browser does not "
                "tell, as all but Chromium's. If the tree grows and this does not, it is the browser.",
                {
                    "{{instance}} place {{place}} {{browser}}": total(
                        f"webinfer_browser_js_heap_bytes{{{INSTANCE}}}", "instance, place, browser"
                    )
                },
                "bytes",
                width=12,
            ),
        ],
        "The service's process": [
            series(
                "CPU",
                "Cores that the service itself takes, without its browsers. Above one for long: very many small "
                "requests, or sound that is decoded.",
                {"{{instance}}": rate("process_cpu_seconds_total")},
                "none",
            ),
            series(
                "Memory",
                "Resident memory of the service itself, and its address space, which is no memory. A resident line "
                "that climbs for hours is a fault: report it with a heap profile.",
                {
                    "{{instance}} resident": f"process_resident_memory_bytes{{{INSTANCE}}}",
                    "{{instance}} address space": f"process_virtual_memory_bytes{{{INSTANCE}}}",
                },
                "bytes",
            ),
            series(
                "Allocator",
                "allocated is what the program holds; resident far above it is memory that the allocator keeps for "
                "later.",
                {"{{instance}} {{what}}": f"webinfer_allocator_bytes{{{INSTANCE}}}"},
                "bytes",
            ),
            series(
                "Open files and sockets",
                "Against the limit of the process. Each connection and link takes one; at the limit nothing can be "
                "accepted any more.",
                {
                    "{{instance}} open": f"process_open_fds{{{INSTANCE}}}",
                    "{{instance}} limit": f"process_max_fds{{{INSTANCE}}}",
                },
            ),
            series(
                "Busy threads of the runtime",
                "Share of the time that the threads run tasks. Above 0.9 the service itself is what is slow.",
                {
                    "{{instance}}": f"{rate('webinfer_runtime_busy_seconds_total')} / "
                    f"webinfer_runtime_threads{{{INSTANCE}}}"
                },
                "percentunit",
                (0.7, 0.9),
            ),
            series(
                "Tasks of the runtime",
                "alive follows connections and streams, and must come down again with them; waiting should be near 0.",
                {
                    "{{instance}} alive": f"webinfer_runtime_tasks{{{INSTANCE}}}",
                    "{{instance}} waiting": f"webinfer_runtime_queue_tasks{{{INSTANCE}}}",
                },
            ),
            series(
                "Threads",
                "All threads of the process. It should be flat.",
                {"{{instance}}": f"process_threads{{{INSTANCE}}}"},
            ),
            series(
                "Spans for the collector",
                "Spans of traces in a second. failed: the collector cannot be reached, or takes nothing; dropped: more "
                "than it takes. Requests do not wait for it.",
                {"{{result}}": total(rate("webinfer_spans_total"), "result")},
                "ops",
            ),
            series(
                "Time since the start",
                "It falls to 0 where the process was started anew.",
                {"{{instance}}": f"time() - process_start_time_seconds{{{INSTANCE}}}"},
                "s",
            ),
        ],
    },
)
