"""The plots of the report as Vega-Lite, whose data the page puts in under ``values``.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; shapes and dashes say the same again.
"""

from __future__ import annotations

from typing import Any

_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442"]
_DASHES = [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2], [4, 4], [10, 4], [1, 3], [12, 2]]
#: Of measured models; the cross is for what papers report.
_SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "triangle-right", "triangle-left", "wedge"]
REPORTED = "cross"


#: The panels of a sweep in their order, named as the page names them.
_MEASURES = ["mono AP", "cross AP", "multi AP", "rank distance"]


def _legend() -> dict[str, Any]:
    """Its columns and the length of its labels are the page's to choose, which knows its width."""
    return {"title": None, "orient": "bottom", "symbolSize": 90, "symbolOpacity": 1}


def _scatter(x: tuple[str, str], y: tuple[str, str]) -> dict[str, Any]:
    encoding = {
        "x": {"field": x[0], "type": "quantitative", "title": x[1], "scale": {"zero": False, "nice": True}},
        "y": {"field": y[0], "type": "quantitative", "title": y[1], "scale": {"zero": False, "nice": True}},
        "tooltip": [
            {"field": "model", "title": "model"},
            {"field": x[0], "title": x[1], "format": ".4f"},
            {"field": y[0], "title": y[1], "format": ".4f"},
        ],
    }
    picked = {
        "color": {"field": "model", "type": "nominal", "scale": {"range": _COLOURS}, "legend": _legend()},
        "shape": {"field": "model", "type": "nominal", "scale": {"range": _SHAPES}, "legend": _legend()},
    }
    there = f"isValid(datum['{x[0]}']) && isValid(datum['{y[0]}'])"
    return {
        "width": 270,
        "height": 240,
        "transform": [{"filter": there}],
        "layer": [
            {
                "transform": [{"filter": "!datum.picked"}],
                "mark": {"type": "point", "filled": False, "size": 45, "color": "#8a8a8a"},
                "encoding": {
                    **encoding,
                    "shape": {"condition": {"test": "datum.measured", "value": _SHAPES[0]}, "value": REPORTED},
                },
            },
            {
                "transform": [{"filter": "datum.picked"}],
                "mark": {"type": "point", "filled": True, "size": 130, "opacity": 1},
                "encoding": {**encoding, **picked},
            },
        ],
    }


def tradeoff() -> dict[str, Any]:
    """Monolingual AP against cross-lingual and multilingual AP; values: model, measured, picked, mono, cross, multi.

    The page gives each picked model its shape, that of reported figures being `REPORTED`.
    """
    mono, cross, multi = ("mono", "AP within a language"), ("cross", "AP across languages"), ("multi", "AP in the pool")
    return {
        "description": "Points, one a model: AP within a language against AP across languages and in the pool of all",
        "data": {"name": "values"},
        "columns": 2,
        "concat": [_scatter(mono, cross), _scatter(mono, multi)],
        "spacing": 30,
    }


def distances() -> dict[str, Any]:
    """Distributions of rank distance; values: model, distance (middle of a bar), share, and random per model."""
    scale = {"range": _COLOURS}
    return {
        "description": "Lines, one a model: the share of queries by rank distance; a dashed rule where random lies",
        "data": {"name": "values"},
        "width": "container",
        "height": 240,
        "layer": [
            {
                "mark": {"type": "line", "interpolate": "step", "strokeWidth": 2},
                "encoding": {
                    "x": {
                        "field": "distance",
                        "type": "quantitative",
                        "title": "rank distance: last minus first rank",
                    },
                    "y": {"field": "share", "type": "quantitative", "title": "queries", "axis": {"format": ".0%"}},
                    "color": {"field": "model", "type": "nominal", "scale": scale, "legend": _legend()},
                    "strokeDash": {
                        "field": "model",
                        "type": "nominal",
                        "scale": {"range": _DASHES},
                        "legend": _legend(),
                    },
                    "tooltip": [
                        {"field": "model"},
                        {"field": "distance", "title": "about", "format": ",.0f"},
                        {"field": "share", "title": "of the queries", "format": ".1%"},
                    ],
                },
            },
            {
                "transform": [{"aggregate": [{"op": "max", "field": "random", "as": "random"}]}],
                "mark": {"type": "rule", "strokeDash": [5, 4], "color": "#8a8a8a"},
                "encoding": {"x": {"field": "random", "type": "quantitative"}},
            },
        ],
    }


def alpha() -> dict[str, Any]:
    """Scores of a sweep; values: line, strategy, alpha, seed, measure, value, model.

    A line is the mean over seeds, a band from least to most; pure strategies, its ends, have a shape of their own.
    """
    x = {
        "field": "alpha",
        "type": "quantitative",
        "title": "alpha: probability of a monolingual batch",
        "scale": {"domain": [0, 1]},
    }
    dash = {"field": "line", "type": "nominal", "scale": {"range": _DASHES}, "legend": None}
    colour = {"field": "line", "type": "nominal", "scale": {"range": _COLOURS}, "legend": _legend()}

    def y(aggregate: str | None) -> dict[str, Any]:
        found = {"field": "value", "type": "quantitative", "title": None, "scale": {"zero": False}}
        return found | ({"aggregate": aggregate} if aggregate else {})

    return {
        "description": "Lines, one a way to train: mean score over seeds against alpha, with a band from least to most",
        "data": {"name": "values"},
        "columns": 2,
        "facet": {"field": "measure", "type": "nominal", "title": None, "sort": _MEASURES},
        "resolve": {"scale": {"y": "independent"}},
        "spec": {
            "width": 270,
            "height": 190,
            "layer": [
                {
                    "mark": {"type": "area", "opacity": 0.2},
                    "encoding": {
                        "x": x,
                        "y": y("min"),
                        "y2": {"field": "value", "aggregate": "max"},
                        "color": colour,
                    },
                },
                {
                    "mark": {"type": "line", "strokeWidth": 2},
                    "encoding": {
                        "x": x,
                        "y": y("mean"),
                        "color": colour,
                        "strokeDash": dash,
                    },
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 50, "opacity": 1},
                    "encoding": {
                        "x": x,
                        "y": y(None),
                        "color": colour,
                        "shape": {
                            "field": "strategy",
                            "type": "nominal",
                            "scale": {"range": _SHAPES},
                            "legend": _legend(),
                        },
                        "tooltip": [
                            {"field": "model"},
                            {"field": "strategy"},
                            {"field": "alpha"},
                            {"field": "seed"},
                            {"field": "value", "format": ".4f"},
                        ],
                    },
                },
            ],
        },
    }


CHARTS = {"tradeoff": tradeoff, "distances": distances, "alpha": alpha}
