"""Benchmarks: browsers and backends side by side."""

from .panels import OF_RUN, bars, dashboard, series, table
from .queries import INSTANCE, MODEL, RAN, WHAT_RAN, quantile, quantiles, rate, total


def ran(metric, selector=RAN, by=WHAT_RAN):
    """A rate over the whole range that is chosen."""
    return total(rate(metric, selector, "$__range"), by)


INFERENCE = RAN + ', hop="inference"'
THROUGHPUT = f"{ran('webinfer_items_total')} > 0"
MEMORY = f"avg by (browser) (max_over_time(webinfer_browser_memory_bytes{{{INSTANCE}}}[$__range]))"
NAMES = "{{model}} {{backend}} {{browser}} {{hardware}} {{dtype}}"
CELL = {
    "model": "model",
    "backend": "platform",
    "browser": "browser",
    "hardware": "hardware",
    "dtype": "precision",
    "batch": "batch",
    "concurrency": "callers",
    "threads": "threads",
    "workers": "workers",
}
CELL_NAME = NAMES + " batch {{batch}}, {{concurrency}} callers, {{workers}} x {{threads}}"


def measured(metric, more=""):
    """What `webinfer bench run` found last of each cell."""
    return f"max by ({', '.join(CELL)}) (webinfer_benchmark_{metric}{{{RAN}{more}}})"


def batch_time(share):
    return quantile(share, "webinfer_hop_seconds", WHAT_RAN, INFERENCE, "$__range") + " >= 0"


BENCHMARKS = dashboard(
    "benchmarks",
    "Browsers and backends side by side: what `webinfer bench run --address` measured last, and below it what any "
    "requests came to over the time range that is chosen, such as those of `webinfer bench load`.",
    OF_RUN,
    {
        "Benchmark runs": [
            table(
                "What was measured last",
                "One line for each cell of a benchmark that ran in this service, by what really ran it. Throughput is "
                "the geometric mean of its rounds; intervals, marks and comparisons are in `webinfer bench show` and "
                "`webinfer bench compare`. Memory is of the browsers' process trees, with all that was loaded there.",
                {
                    "items/s": (measured("items_per_second"), "none"),
                    "p50": (measured("request_seconds", ', quantile="0.5"'), "s"),
                    "p99": (measured("request_seconds", ', quantile="0.99"'), "s"),
                    "load": (measured("load_seconds"), "s"),
                    "memory": (measured("memory_bytes"), "bytes"),
                },
                CELL,
                height=12,
            ),
            bars(
                "Measured throughput",
                "Items in a second, of the last run of each cell. Higher is better.",
                {CELL_NAME: measured("items_per_second")},
                "ops",
                width=12,
            ),
            bars(
                "Measured time of a request, median",
                "From admission to answer, of the last run of each cell. It grows with callers that wait for one "
                "another.",
                {CELL_NAME: measured("request_seconds", ', quantile="0.5"')},
                "s",
                width=12,
            ),
            series(
                "Rows that are done",
                "Rows of benchmarks in each step of the chart, by what became of them. Lost ones had their browser or "
                "worker end meanwhile; `webinfer bench show` says why others failed.",
                {"{{state}}": total(f"increase(webinfer_benchmark_rows_total{{{MODEL}}}[$__rate_interval])", "state")},
                "none",
                bars=True,
                width=24,
            ),
        ],
        "Side by side": [
            table(
                "What ran, how fast",
                "One line for each model, backend, browser, hardware and precision that ran in the range. Times are "
                "of one batch, so compare lines of about one batch size; percentiles are read off histogram buckets. "
                "Throughput is what was asked for until callers wait: drive it with `webinfer bench load --callers`. "
                "Memory is the largest of one browser's whole process tree, with all models in it.",
                {
                    "items/s": (THROUGHPUT, "none"),
                    "batch size": (
                        f"{ran('webinfer_items_total')} / {ran('webinfer_hop_seconds_count', INFERENCE)} >= 0",
                        "none",
                    ),
                    "inference of an item": (
                        f"{ran('webinfer_hop_seconds_sum', INFERENCE)} / {ran('webinfer_items_total')} >= 0",
                        "s",
                    ),
                    "inference p50": (batch_time(0.5), "s"),
                    "inference p95": (batch_time(0.95), "s"),
                    "all hops, mean": (
                        f"{ran('webinfer_hop_seconds_sum')} / {ran('webinfer_hop_seconds_count', INFERENCE)} >= 0",
                        "s",
                    ),
                    "memory of a browser": (
                        f"({THROUGHPUT}) * 0 + on (browser) group_left () {MEMORY}",
                        "bytes",
                    ),
                },
                {
                    "model": "model",
                    "backend": "platform",
                    "browser": "browser",
                    "hardware": "hardware",
                    "dtype": "precision",
                },
                height=12,
            ),
        ],
        "Bars": [
            bars("Throughput", "Items in a second over the range. Higher is better.", {NAMES: THROUGHPUT}, "ops"),
            bars(
                "Inference of a batch, median",
                "Over the range. Lower is better, at one batch size.",
                {NAMES: batch_time(0.5)},
                "s",
            ),
            bars(
                "Inference of a batch, 95th percentile",
                "Over the range. Far above the median: first runs of new shapes, or a machine that is shared.",
                {NAMES: batch_time(0.95)},
                "s",
            ),
            bars(
                "Memory of a browser",
                "The largest in the range of one browser's process tree, on average over the browsers of a kind.",
                {"{{browser}}": MEMORY},
                "bytes",
            ),
            bars(
                "Time to load a replica",
                "Median over the range. Cold starts cost this.",
                {
                    "{{model}} {{backend}} {{browser}}": quantile(
                        0.5,
                        "webinfer_model_load_seconds",
                        "model, backend, browser",
                        MODEL + ', browser=~"$browser", backend=~"$backend"',
                        "$__range",
                    )
                    + " >= 0"
                },
                "s",
            ),
            bars(
                "Time to start a browser",
                "Median over the range.",
                {
                    "{{browser}}": quantile(
                        0.5,
                        "webinfer_browser_start_seconds",
                        "browser",
                        INSTANCE + ', browser=~"$browser"',
                        "$__range",
                    )
                    + " >= 0"
                },
                "s",
            ),
        ],
        "Texts that are made": [
            bars(
                "Time to the first token",
                "Median over the range, by model: register one for each backend to compare them.",
                {"{{model}}": quantile(0.5, "webinfer_first_token_seconds", "model", MODEL, "$__range") + " >= 0"},
                "s",
            ),
            bars(
                "Time between tokens",
                "Median over the range; its inverse is tokens in a second for one reader.",
                {"{{model}}": quantile(0.5, "webinfer_token_seconds", "model", MODEL, "$__range") + " >= 0"},
                "s",
            ),
            bars(
                "Tokens",
                "Tokens that ran in a second over the range, padding counted.",
                {"{{model}}": f"{ran('webinfer_tokens_total', MODEL, 'model')} > 0"},
                "ops",
            ),
        ],
        "Over time": [
            series(
                "Throughput",
                "Level while a run lasts; what is not level is not worth comparing.",
                {NAMES: total(rate("webinfer_items_total", RAN), WHAT_RAN)},
                "ops",
                width=12,
            ),
            series(
                "Inference of a batch, 95th percentile",
                "It falls while kernels are compiled and batch sizes are learned: leave that out of the range.",
                quantiles("webinfer_hop_seconds", WHAT_RAN, NAMES, INFERENCE, (0.95,)),
                "s",
                width=12,
            ),
        ],
    },
)
