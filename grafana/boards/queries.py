"""Queries: what the boards ask, of what a reader has chosen on top of them."""

# What a selection by the variables on top of a dashboard comes to.
INSTANCE = 'instance=~"$instance"'
MODEL = INSTANCE + ', model=~"$model"'
RAN = MODEL + ', browser=~"$browser", backend=~"$backend", hardware=~"$hardware", dtype=~"$dtype"'
WHAT_RAN = "model, backend, browser, hardware, dtype"
IN_WORKER = 'hop=~"preprocess|inference|postprocess"'
REFUSED = "OVERLOADED|DEADLINE_TOO_SHORT"


def rate(metric, selector=INSTANCE, over="$__rate_interval"):
    return f"rate({metric}{{{selector}}}[{over}])"


def total(expression, by=""):
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"


def grown(metric, by, selector=INSTANCE):
    """What a counter grew by in each step of a chart; what did not grow is left out."""
    return f"sum by ({by}) (increase({metric}{{{selector}}}[$__rate_interval])) > 0"


def quantile(share, metric, by="", selector=INSTANCE, over="$__rate_interval"):
    labels = ", ".join(filter(None, [by, "le"]))
    return f"histogram_quantile({share}, sum by ({labels}) ({rate(metric + '_bucket', selector, over)}))"


def quantiles(metric, by="", legend="", selector=INSTANCE, shares=(0.5, 0.95, 0.99)):
    """Queries by legend, one for each quantile."""
    return {f"{legend} p{share * 100:.0f}".strip(): quantile(share, metric, by, selector) for share in shares}


def mean(metric, by="", selector=INSTANCE):
    return f"{total(rate(metric + '_sum', selector), by)} / {total(rate(metric + '_count', selector), by)}"


def or_none(expression):
    """A total, which is 0 where nothing was counted yet."""
    return f"({expression} or vector(0))"


def share(part, whole):
    """A share of something; of nothing there is none."""
    return f"{or_none(part)} / ({whole} > 0)"


REQUESTS = rate("webinfer_requests_total", MODEL)
ITEMS = rate("webinfer_items_total", MODEL)
SIMULATED = rate("webinfer_simulated_items_total", MODEL)
FAILED = rate("webinfer_requests_total", MODEL + ', outcome!~"OK|CANCELLED"')
SOFTWARE = or_none(total(rate("webinfer_items_total", MODEL + ', hardware="software_adapter"')))
PLACEHOLDERS = or_none(total(SIMULATED))
ANSWERED = f"({or_none(total(ITEMS))} + {PLACEHOLDERS})"


def busy(by=""):
    """Seconds that workers compute in a second, for each of those that are there."""
    workers = total(f'webinfer_workers{{{INSTANCE}, state="ready"}}', by)
    return f"{total(rate('webinfer_hop_seconds_sum', f'{INSTANCE}, {IN_WORKER}'), by)} / {workers}"


PENDING = f'webinfer_pending_items{{{INSTANCE}}} / on (instance) webinfer_pending_limit{{{INSTANCE}, what="items"}}'
