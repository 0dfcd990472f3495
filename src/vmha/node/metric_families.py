"""From the table of metrics to what prometheus-client writes down: one family at a time."""

from collections.abc import Mapping
from math import inf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from vmha.model.histogram import Histogram
from vmha.node.metric_names import METRICS, Kind


def family(name: str, values: Mapping[str, float]) -> Metric:
    """A gauge or counter with one label, by its value."""
    about = METRICS[name]
    kind = CounterMetricFamily if about.kind is Kind.COUNTER else GaugeMetricFamily
    made = kind(name, about.text, labels=about.labels)
    for label, value in values.items():
        made.add_metric([label], float(value))
    return made


def single(name: str, value: float) -> Metric:
    """A gauge without labels."""
    return GaugeMetricFamily(name, METRICS[name].text, value=float(value))


def histograms(name: str, by_label: Mapping[str, Histogram]) -> Metric:
    """One for each value of its label; of one without labels, under the empty word."""
    about = METRICS[name]
    made = HistogramMetricFamily(name, about.text, labels=about.labels)
    for label, histogram in by_label.items():
        buckets = [("+Inf" if bound == inf else repr(bound), float(count)) for bound, count in histogram.cumulative()]
        made.add_metric([label] if about.labels else [], buckets, histogram.total)
    return made
