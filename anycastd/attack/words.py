"""What a person reads at three in the morning: how much, how far from usual, what is lost, what it looks like."""

from __future__ import annotations

from anycastd.model.attack import AttackReason, Rate, Shape

_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def rate_words(value: float, unit: str) -> str:
    """Return a rate with three digits: `184 kpps`, `1.90 Gbit/s`."""
    for size, letter in _STEPS:
        if value >= size:
            scaled = value / size
            digits = 0 if scaled >= 100 else 1 if scaled >= 10 else 2
            return f"{scaled:.{digits}f} {letter}{unit}"
    return f"{value:.0f} {unit}"


def _against(value: float, usual: float, unit: str) -> str:
    if usual <= 0.0:
        return f"{rate_words(value, unit)} (usual: nothing)"
    times = value / usual
    factor = f", {times:.3g} times" if times >= 1.5 else ""
    return f"{rate_words(value, unit)} (usual {rate_words(usual, unit)}{factor})"


def detail(rate: Rate, usual: Rate, reasons: tuple[AttackReason, ...], shape: Shape | None) -> str:
    """Return the sentence of one that is not NORMAL."""
    parts = [_against(rate.packets, usual.packets, "pps"), _against(rate.bits, usual.bits, "bit/s")]
    if rate.connections is not None and any(one.value.startswith("connections") for one in reasons):
        parts.append(f"new connections {_against(rate.connections, usual.connections or 0.0, '/s')}")
    if rate.dropped_packets and rate.packets:
        parts.append(f"{min(100.0 * rate.dropped_packets / rate.packets, 100.0):.0f} % dropped")
    if shape is not None and shape.protocols:
        parts.append(shape_words(shape))
    return ", ".join(parts)


def shape_words(shape: Shape) -> str:
    """Return what the packets look like: `udp 98 % to port 53, 64 bytes, sources look random`."""
    first = shape.protocols[0]
    words = [f"{first.value} {first.percent:.0f} %"]
    if shape.ports:
        words.append(f"to port {shape.ports[0].value}")
    text = " ".join(words) + f", {shape.mean_bytes:.0f} bytes"
    if shape.spoofed:
        return f"{text}, sources look random"
    if shape.sources:
        return f"{text}, most from {shape.sources[0].value} ({shape.sources[0].percent:.0f} %)"
    return text
