"""What admission makes of a write: one table of cases, for the policies, the webhook and the functions behind it."""

from __future__ import annotations

from collections.abc import Mapping

from tests.gate import births, deployments, routes, services, sizes, traefikservices
from tests.gate.case import Case

CASES: Mapping[str, Case] = {
    f"{title}: {name}": case
    for title, cases in (
        ("birth", births.CASES),
        ("size", sizes.CASES),
        ("route", routes.CASES),
        ("traefikservice", traefikservices.CASES),
        ("service", services.CASES),
        ("deployment", deployments.CASES),
    )
    for name, case in cases.items()
}
