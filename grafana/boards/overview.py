"""Overview: whether users are served, how fast, what is short, and what really computes."""

from .panels import OF_MODEL, dashboard, heatmap, series, stat
from .queries import (
    ANSWERED,
    FAILED,
    INSTANCE,
    ITEMS,
    MODEL,
    PENDING,
    PLACEHOLDERS,
    REFUSED,
    REQUESTS,
    SOFTWARE,
    busy,
    mean,
    quantile,
    quantiles,
    rate,
    share,
    total,
)

OVERVIEW = dashboard(
    "overview",
    "Whether users are served, how fast, what is short, and what really computes.",
    OF_MODEL,
    {
        "At a glance": [
            stat(
                "Instances",
                "Services that Prometheus hears, by version. Fewer than were started: see the alert WebinferDown.",
                f"count by (version) (webinfer_build_info{{{INSTANCE}}})",
                legend="{{version}}",
            ),
            stat("Requests", "Requests that end in a second, with whatever outcome.", total(REQUESTS), "reqps"),
            stat(
                "Errors",
                "Share of requests that end with an error, the caller's own mistakes counted; cancelled ones are "
                "none. Which errors: the chart of outcomes below.",
                share(total(FAILED), total(REQUESTS)),
                "percentunit",
                (0.01, 0.05),
            ),
            stat(
                "Request p95",
                "95th percentile of the time from admission to the answer. It has no limit of its own: compare it "
                "with yesterday's.",
                quantile(0.95, "webinfer_request_seconds", selector=MODEL),
                "s",
            ),
            stat(
                "Pending",
                "Items that are queued or run, against --max-pending-items, of the fullest instance. At 1 new "
                "requests are refused as OVERLOADED.",
                f"max({PENDING})",
                "percentunit",
                (0.5, 0.8),
            ),
            stat(
                "Browsers short",
                "Browsers that should serve and are not ready. More than 0 for minutes: see the dashboard pool.",
                f"sum(webinfer_browsers_wanted{{{INSTANCE}}}) - "
                f'(sum(webinfer_browsers{{{INSTANCE}, state="ready"}}) or vector(0)) > 0 or vector(0)',
                levels=(1, 2),
            ),
            stat(
                "Models not served",
                "Models that failed to load, or are answered with placeholders. Which: the dashboard models.",
                f'sum(webinfer_models{{{MODEL}, state=~"failed|simulated"}}) or vector(0)',
                levels=(1,),
            ),
            stat(
                "Not on hardware",
                "Share of answers that a software adapter gave, or that are placeholders. Above 0, times tell "
                "nothing of a GPU.",
                share(f"({SOFTWARE} + {PLACEHOLDERS})", ANSWERED),
                "percentunit",
                (0.001, 0.1),
            ),
        ],
        "Rate and errors": [
            series(
                "Requests by model",
                "Requests that end in a second. The empty name stands for models that there are not.",
                {"{{model}}": total(REQUESTS, "model")},
                "reqps",
                stack=True,
            ),
            series(
                "How requests end",
                "By outcome: OK, CANCELLED where the caller left, or a reason of the table of errors in README, which "
                "says what to do about each.",
                {"{{outcome}}": total(REQUESTS, "outcome")},
                "reqps",
                stack=True,
            ),
            series(
                "Share of errors by model",
                "One model alone points to it or its inputs; all of them point to browsers or machine.",
                {"{{model}}": f"{total(FAILED, 'model')} / {total(REQUESTS, 'model')}"},
                "percentunit",
                (0.01, 0.05),
            ),
            series(
                "Requests by task and priority",
                "What is asked for. Of what waits, high gets four times the share of normal, and normal that of low.",
                {"{{task}} {{priority}}": total(REQUESTS, "task, priority")},
                "reqps",
                stack=True,
            ),
            series(
                "Refused",
                "Requests in a second that are refused at once because the work that is pending leaves no room or "
                "time. For long: more replicas, more machines, or fewer callers.",
                {"{{outcome}}": total(rate("webinfer_requests_total", f'{MODEL}, outcome=~"{REFUSED}"'), "outcome")},
                "reqps",
                stack=True,
            ),
            series(
                "Work that was saved",
                "Share of look-ups that found a kept answer (--answer-cache-bytes), and items in a second that shared "
                "the run of an identical one.",
                {
                    "kept answers": share(
                        total(rate("webinfer_cache_lookups_total", INSTANCE + ', result="hit"')),
                        total(rate("webinfer_cache_lookups_total")),
                    ),
                    "shared runs in a second": total(rate("webinfer_coalesced_items_total")),
                },
                "none",
            ),
        ],
        "Latency": [
            series(
                "Requests",
                "Time from admission to the answer or the error, over all models chosen. A gap that opens between p50 "
                "and p99 is waiting or retries; all of them rising is slower runs.",
                quantiles("webinfer_request_seconds", selector=MODEL),
                "s",
            ),
            series(
                "95th percentile by model",
                "One slow model hides behind many fast ones in the sum.",
                quantiles("webinfer_request_seconds", "model", "{{model}}", MODEL, (0.95,)),
                "s",
            ),
            heatmap(
                "Spread of requests",
                "How many requests took how long. Two bands are two kinds of requests, or two kinds of workers.",
                f"sum by (le) (increase(webinfer_request_seconds_bucket{{{MODEL}}}[$__rate_interval]))",
                "s",
            ),
            series(
                "Mean time by hop",
                "Where the time of a batch goes, stacked. queue: too few workers; bridge: large inputs or answers; "
                "inference: the model itself.",
                {"{{hop}}": mean("webinfer_hop_seconds", "hop", MODEL)},
                "s",
                stack=True,
            ),
            series(
                "95th percentile by hop",
                "The same hops where they are slow. Hops of one batch need not be slow together: these do not add up.",
                quantiles("webinfer_hop_seconds", "hop", "{{hop}}", MODEL, (0.95,)),
                "s",
            ),
            series(
                "Late batches",
                "Batches in a second that ran a second time elsewhere, because they were late (--hedge). won: the "
                "second run was the first with its answer; refused: more were late than may run twice.",
                {"{{outcome}}": total(rate("webinfer_hedges_total", MODEL), "outcome")},
                "none",
                stack=True,
            ),
        ],
        "Saturation": [
            series(
                "Pending items",
                "Queued or run, against the limit. Near it, requests are refused.",
                {
                    "{{instance}} pending": f"webinfer_pending_items{{{INSTANCE}}}",
                    "{{instance}} limit": f'webinfer_pending_limit{{{INSTANCE}, what="items"}}',
                },
            ),
            series(
                "Pending bytes",
                "Bytes of pending items, and of answers that their callers have not read. High with few items: slow "
                "readers, or very large inputs.",
                {
                    "{{instance}} pending": f"webinfer_pending_bytes{{{INSTANCE}}}",
                    "{{instance}} limit": f'webinfer_pending_limit{{{INSTANCE}, what="bytes"}}',
                },
                "bytes",
            ),
            series(
                "Queue by model",
                "Items that wait for a worker. A queue that never empties means that the workers are too few or too "
                "slow.",
                {"{{model}}": total(f"webinfer_queue_items{{{MODEL}}}", "model")},
                stack=True,
            ),
            series(
                "Busy workers",
                "Share of the ready workers' time that they compute. At 1 only more workers, larger batches or a "
                "faster backend give more.",
                {"{{instance}}": busy("instance")},
                "percentunit",
                (0.8, 0.95),
            ),
            series(
                "Retries and quarantine",
                "Items in a second that ran again because a worker was lost or gave no answer, and those that were "
                "given up because they end workers.",
                {
                    "retries": total(rate("webinfer_retries_total")),
                    "quarantined": total(rate("webinfer_quarantined_items_total")),
                },
                "ops",
            ),
            series(
                "Between service and browsers",
                "Bytes in a second over the loopback links. It should follow the requests.",
                {"{{direction}}": total(rate("webinfer_link_bytes_total"), "direction")},
                "Bps",
            ),
        ],
        "What really runs": [
            series(
                "Items by what ran them",
                "Backend, hardware and browser of the runs, not of the wishes. software_adapter on WebGPU is the CPU; "
                "unknown means that the browser does not tell.",
                {"{{backend}} {{hardware}} {{browser}}": total(ITEMS, "backend, hardware, browser")},
                "ops",
                stack=True,
            ),
            series(
                "Software and simulation",
                "Share of answers that a software adapter gave, and of placeholders. Both should be 0 "
                "where users expect a GPU.",
                {
                    "software adapter": share(SOFTWARE, ANSWERED),
                    "simulated": share(PLACEHOLDERS, ANSWERED),
                },
                "percentunit",
            ),
            series(
                "Loaded replicas",
                "By backend, hardware and browser. A change without a deployment is a fall-back, or a browser that "
                "came back with less.",
                {
                    "{{backend}} {{hardware}} {{browser}}": total(
                        f"webinfer_replicas{{{MODEL}}}", "backend, hardware, browser"
                    )
                    + " > 0"
                },
                stack=True,
            ),
        ],
    },
)
