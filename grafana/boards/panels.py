"""Panels: each kind, and how they are laid out on a board."""

from .queries import INSTANCE

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def panel(kind, title, about, queries, unit="short", width=8, height=8, levels=(), **more):
    """One panel. `queries` are expressions by legend; `levels` the values from which it is yellow, then red."""
    colours = ["green", "yellow", "red"] if len(levels) == 2 else ["green", "red"]
    steps = [{"color": colour, "value": value} for colour, value in zip(colours, [None, *levels], strict=False)]
    instant = kind in ("table", "bargauge")
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": DATASOURCE,
            "expr": expression,
            "legendFormat": legend,
            "instant": instant,
            "range": not instant,
            "format": more.get("format", "time_series"),
        }
        for place, (legend, expression) in enumerate(queries.items())
    ]
    defaults = {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps}, **more.get("defaults", {})}
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height},
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": more.get("overrides", [])},
        "options": more["options"],
        **({"transformations": more["transformations"]} if "transformations" in more else {}),
    }


def stat(title, about, expression, unit="short", levels=(), legend="", width=3):
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value" if levels else "none",
        "graphMode": "area",
        "textMode": "value_and_name" if legend else "value",
    }
    return panel("stat", title, about, {legend: expression}, unit, width, 4, levels, options=options)


def series(title, about, queries, unit="short", levels=(), stack=False, bars=False, width=8):
    custom = {
        "drawStyle": "bars" if bars else "line",
        "fillOpacity": 60 if bars else 25 if stack else 8,
        "lineWidth": 1,
        "showPoints": "never",
        "stacking": {"mode": "normal" if stack or bars else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if levels else "off"},
    }
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    defaults = {"min": 0, "color": {"mode": "palette-classic"}, "custom": custom}
    return panel("timeseries", title, about, queries, unit, width, 8, levels, options=options, defaults=defaults)


def bars(title, about, queries, unit, width=8):
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
    }
    defaults = {"min": 0, "color": {"mode": "continuous-BlPu"}}
    return panel("bargauge", title, about, queries, unit, width, 8, options=options, defaults=defaults)


def heatmap(title, about, expression, unit, width=8):
    options = {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 64},
        "yAxis": {"unit": unit},
        "cellGap": 1,
        "tooltip": {"mode": "single", "yHistogram": False},
        "legend": {"show": True},
    }
    return panel("heatmap", title, about, {"{{le}}": expression}, unit, width, options=options, format="heatmap")


def table(title, about, columns, labels, width=24, height=10):
    """One row for each set of labels. `columns` are (expression, unit) by name, joined by those labels."""
    letters = [chr(ord("A") + place) for place in range(len(columns))]
    values = [f"Value #{letter}" for letter in letters] if len(columns) > 1 else ["Value"]
    order = {name: place for place, name in enumerate([*labels, *values])}
    overrides = [
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
        for name, (_, unit) in columns.items()
    ]
    rename = {**labels, **dict(zip(values, columns, strict=True))}
    organize = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": rename}
    return panel(
        "table",
        title,
        about,
        {name: expression for name, (expression, _) in columns.items()},
        width=width,
        height=height,
        format="table",
        defaults={"custom": {"align": "auto", "filterable": True}},
        overrides=overrides,
        options={"showHeader": True, "cellHeight": "sm"},
        transformations=[{"id": "merge", "options": {}}, {"id": "organize", "options": organize}],
    )


def variable(name, metric, selector=INSTANCE):
    query = f"label_values({metric}{{{selector}}}, {name})" if selector else f"label_values({metric}, {name})"
    return {
        "name": name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"], "selected": True},
    }


OF_INSTANCE = [variable("instance", "webinfer_build_info", "")]
OF_MODEL = [*OF_INSTANCE, variable("model", "webinfer_requests_total")]
OF_RUN = [
    *OF_INSTANCE,
    *(variable(name, "webinfer_items_total") for name in ("model", "browser", "backend", "hardware", "dtype")),
]


def dashboard(name, about, variables, rows):
    """A dashboard of rows of panels, by title. Panels follow one another and wrap."""
    panels, y, number = [], 0, 0
    for title, row in rows.items():
        number += 1
        panels.append({"type": "row", "id": number, "title": title, "collapsed": False, "panels": []})
        panels[-1]["gridPos"] = {"x": 0, "y": y, "w": 24, "h": 1}
        x, y, height = 0, y + 1, 0
        for one in row:
            number += 1
            place = one["gridPos"]
            if x + place["w"] > 24:
                x, y, height = 0, y + height, 0
            height = max(height, place["h"])
            panels.append({"id": number, **one, "gridPos": {"x": x, "y": y, **place}})
            x += place["w"]
        y += height
    datasource = {
        "name": "datasource",
        "type": "datasource",
        "query": "prometheus",
        "current": {"text": "Prometheus", "value": "webinfer-prometheus", "selected": True},
    }
    link = {"type": "dashboards", "title": "webinfer", "tags": ["webinfer"], "asDropdown": False, "keepTime": True}
    return {
        "uid": f"webinfer-{name}",
        "title": f"webinfer: {name}",
        "description": about,
        "tags": ["webinfer"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{**link, "includeVars": True}],
        "templating": {"list": [datasource, *variables]},
        "panels": panels,
    }
