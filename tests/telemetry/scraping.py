"""What a Prometheus server reads."""

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from tests.world import Gateway


class Figures:
    """A scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def of(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items())
        )

    def has(self, name: str, **labels: str) -> bool:
        return any(sample.name == name and sample.labels == labels for sample in self.samples)

    def labels(self) -> set[str]:
        return {value for sample in self.samples for value in sample.labels.values()}


async def scrape(gateway: Gateway, headers: Mapping[str, str] | None = None) -> Figures:
    answer = await gateway.call("GET", "/metrics", headers=headers)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return Figures(answer.body.decode())
