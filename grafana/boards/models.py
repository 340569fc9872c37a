"""Models: what each serves, how it came to be loaded, and how backends compare."""

from .panels import OF_MODEL, dashboard, series, table
from .queries import ITEMS, MODEL, SIMULATED, WHAT_RAN, grown, mean, quantiles, rate, total

MODELS = dashboard(
    "models",
    "Each model: how much it serves and how fast, how it came to be loaded, and how backends compare.",
    OF_MODEL,
    {
        "Throughput and latency": [
            series(
                "Items",
                "Items that ran in a second. Items that shared a run or had a kept answer are not among them.",
                {"{{model}}": total(ITEMS, "model")},
                "ops",
            ),
            series(
                "Time of requests",
                "From admission to the answer.",
                quantiles("webinfer_request_seconds", "model", "{{model}}", MODEL, (0.5, 0.95)),
                "s",
            ),
            series(
                "Queue",
                "Items that wait for a worker of the model.",
                {"{{model}}": total(f"webinfer_queue_items{{{MODEL}}}", "model")},
            ),
            series(
                "Batch size",
                "Mean number of items in one call. It grows with the load where larger batches pay; 1 throughout for "
                "texts that are made.",
                {"{{model}}": mean("webinfer_batch_items", "model", MODEL)},
                "none",
            ),
            series(
                "Calls",
                "Batches that ran in a second.",
                {"{{model}}": total(rate("webinfer_batch_items_count", MODEL), "model")},
                "ops",
            ),
            series(
                "Time of inference for an item",
                "Seconds of inference over items: what a model costs.",
                {
                    "{{model}}": total(rate("webinfer_hop_seconds_sum", MODEL + ', hop="inference"'), "model")
                    + f" / {total(ITEMS, 'model')}"
                },
                "s",
            ),
        ],
        "Tokens": [
            series(
                "Time to the first token",
                "From admission to the first token of a text that is made: what a reader waits for. It has the queue "
                "in it; long prompts take longer.",
                quantiles("webinfer_first_token_seconds", "model", "{{model}}", MODEL, (0.5, 0.95)),
                "s",
                (2, 10),
            ),
            series(
                "Time between tokens",
                "Mean of each text, after the first token. Above a tenth of a second people read faster than it "
                "writes.",
                quantiles("webinfer_token_seconds", "model", "{{model}}", MODEL, (0.5, 0.95)),
                "s",
                (0.1, 0.5),
            ),
            series(
                "Tokens",
                "Tokens that ran in a second, padding counted.",
                {"{{model}}": total(rate("webinfer_tokens_total", MODEL), "model")},
                "ops",
            ),
            series(
                "Wasted on padding",
                "Share of tokens that only fill up shorter items of a batch. High: lower --max-batch, or send texts "
                "of one length together.",
                {
                    "{{model}}": total(rate("webinfer_padding_tokens_total", MODEL), "model")
                    + f" / {total(rate('webinfer_tokens_total', MODEL), 'model')}"
                },
                "percentunit",
                (0.25, 0.5),
            ),
        ],
        "Loads": [
            table(
                "States",
                "Where each model stands. failed: `webinfer infer` and the log say why; asleep is loaded again with "
                "the next request.",
                {"instances": (total(f"webinfer_models{{{MODEL}}}", "model, state") + " > 0", "short")},
                {"model": "model", "state": "state"},
                width=8,
                height=8,
            ),
            table(
                "Replicas, and their precision",
                "What is loaded now. dtype is the precision of the file that runs.",
                {"replicas": (total(f"webinfer_replicas{{{MODEL}}}", WHAT_RAN) + " > 0", "short")},
                {name: name for name in WHAT_RAN.split(", ")},
                width=16,
                height=8,
            ),
            series(
                "Loads by outcome",
                "Loads of a replica that ended. Anything but OK is a worker that was lost while it loaded.",
                {"{{model}} {{outcome}}": grown("webinfer_model_loads_total", "model, outcome", MODEL)},
                bars=True,
            ),
            series(
                "Time to load",
                "95th percentile. It bounds how long the first request after a restart waits; on WebGPU it has the "
                "compilation of shaders in it.",
                quantiles(
                    "webinfer_model_load_seconds",
                    "model, browser, backend",
                    "{{model}} {{browser}} {{backend}}",
                    MODEL,
                    (0.95,),
                ),
                "s",
            ),
            series(
                "Examination of new replicas",
                "95th percentile of each step, a part of the time to load. probes: the replica's answers; reference: "
                "those it is held against, which are kept with --state; calibration: its runs are timed where there "
                "is a choice.",
                quantiles("webinfer_model_examination_seconds", "model, step", "{{model}} {{step}}", MODEL, (0.95,)),
                "s",
            ),
            series(
                "Fall-backs",
                "Loads that a backend failed, so that the next of the registration's list was tried. no_backend: the "
                "browser has it not; the others: the model did not come up on it.",
                {
                    "{{model}} {{backend}} {{reason}}": grown(
                        "webinfer_fallbacks_total", "model, backend, reason", MODEL
                    )
                },
                bars=True,
            ),
            series(
                "Answers that were checked",
                "Answers in a second that were run again on another browser or backend, by what came of it, where "
                "--cross-check says so. diverged: one of the two is wrong; which one is in the next chart.",
                {"{{model}} {{outcome}}": total(rate("webinfer_cross_checks_total", MODEL), "model, outcome")},
                "ops",
            ),
            series(
                "Found to answer wrongly",
                "Backends of browsers that were taken out of service for what they answered.",
                {
                    "{{model}} {{browser}} {{backend}}": grown(
                        "webinfer_divergences_total", "model, browser, backend", MODEL
                    )
                },
                bars=True,
            ),
            series(
                "Replicas against wanted",
                "Loaded replicas, and how many there should be.",
                {
                    "{{model}} loaded": total(f"webinfer_replicas{{{MODEL}}}", "model"),
                    "{{model}} wanted": total(f"webinfer_replicas_wanted{{{MODEL}}}", "model"),
                },
            ),
            series(
                "Simulated items",
                "Placeholders in a second, where registration and service allow them. They are no answers.",
                {"{{model}}": total(SIMULATED, "model")},
                "ops",
                (0.001,),
            ),
        ],
        "Backends side by side": [
            series(
                "Items by backend",
                "Which backend takes how much of the work.",
                {"{{backend}} {{browser}} {{dtype}}": total(ITEMS, "backend, browser, dtype")},
                "ops",
                stack=True,
            ),
            series(
                "Time of inference for an item by backend",
                "Lower is better. Only the same model in batches of about one size can be compared.",
                {
                    "{{model}} {{backend}} {{browser}} {{dtype}}": total(
                        rate("webinfer_hop_seconds_sum", MODEL + ', hop="inference"'), "model, backend, browser, dtype"
                    )
                    + f" / {total(ITEMS, 'model, backend, browser, dtype')}"
                },
                "s",
            ),
            series(
                "95th percentile of inference by backend",
                "Of one batch. Far above the mean: first runs of new shapes, or a machine that is shared.",
                quantiles(
                    "webinfer_hop_seconds",
                    "model, backend, browser, dtype",
                    "{{model}} {{backend}} {{browser}} {{dtype}}",
                    MODEL + ', hop="inference"',
                    (0.95,),
                ),
                "s",
            ),
        ],
    },
)
