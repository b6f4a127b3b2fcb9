"""What compiled passes share. Loops over these are turned into vector instructions, as no call leaves the loop."""

import numpy as np
from numba import njit

_LOG2_E = np.float32(1.4426950408889634)
# ln 2 in two parts, of which the first has so few digits that its multiples are exact (Cody and Waite).
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_SMALLEST = np.float32(-87.0)
# exp(r) = 1 + r + r^2 P(r) for |r| <= ln(2) / 2, P from the highest power down (Cephes, expf.c).
_P5, _P4, _P3 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P2, _P1, _P0 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_ONE, _EXPONENT_BIAS, _MANTISSA_BITS = np.float32(1), 127, 23


# Without fast-math flags, which would allow the two parts of ln 2 to be joined.
@njit(cache=True)
def exp(x: np.float32) -> np.float32:
    """e to the ``x`` in float32, to 3e-7 of its value; for ``x`` up to 88; below -87 it stays at 1.6e-38."""
    x = max(x, _SMALLEST)
    power = np.rint(x * _LOG2_E)
    rest = (x - power * _LN2_HIGH) - power * _LN2_LOW
    p = ((((_P5 * rest + _P4) * rest + _P3) * rest + _P2) * rest + _P1) * rest + _P0
    mantissa = p * rest * rest + rest + _ONE
    bits = np.int32((np.int64(np.int32(power)) + _EXPONENT_BIAS) << _MANTISSA_BITS)
    return mantissa * bits.view(np.float32)
