"""Logarithm and power of two over arrays of float32, in a form that compiles to several numbers at a time.

The C library takes one number after the other, some 10 ns each, and features hold some thousands of logarithms for
every list. Both are within 4e-7 of it, relatively, or within 1e-7 where the result is smaller than that.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from freshflow._numba import lean

__all__ = ["LN_2", "scale_exp2", "scale_log1p", "whole"]

Number = float | np.float32

LN_2 = np.float32(np.log(2))
SQRT_2 = np.float32(np.sqrt(2))
ONE, TWO, HALF = np.float32(1), np.float32(2), np.float32(0.5)
# 2 atanh(t) = 2t (1 + t^2 / 3 + t^4 / 5 + ...), for |t| up to 0.172: the term left out is below 1e-9.
ATANH = (np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 7), np.float32(1 / 9))
# 2^r = sum of (r ln 2)^n / n!, for |r| up to a half.
POWER = tuple(np.float32(np.log(2) ** n / factorial) for n, factorial in enumerate((1, 1, 2, 6, 24, 120, 720)))
EXPONENT_BITS, BIAS, FRACTION = 23, 127, 0x007FFFFF
LEAST_POWER = np.float32(-64)  # below it a power is 0: products must not lose their leading bit, which takes long
AT_A_TIME = 8  # numbers of float32 that a processor takes; what a loop has left over is taken one by one, for as long


@lean
def whole(n: int) -> int:
    """`n`, or the next number of which a loop leaves nothing over."""
    return (n + AT_A_TIME - 1) // AT_A_TIME * AT_A_TIME


@intrinsic  # type: ignore[untyped-decorator]
def _bits(typing: Any, value: Any) -> Any:
    """The bits of a float32 as an int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def _float(typing: Any, bits: Any) -> Any:
    """The float32 that has these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@lean
def scale_log1p(x: NDArray[np.float32], n: int, factor: Number, scale: Number) -> None:
    """The first `n` numbers become  scale log(1 + factor x);  none may be negative."""
    factor, scale = np.float32(factor), np.float32(scale)
    for i in range(n):
        value = ONE + factor * x[i]
        bits = _bits(value)
        exponent = np.float32((bits >> EXPONENT_BITS) - BIAS)
        fraction = _float(np.int32((bits & FRACTION) | (BIAS << EXPONENT_BITS)))  # in 1..2
        large = fraction > SQRT_2
        fraction = fraction * HALF if large else fraction
        exponent = exponent + ONE if large else exponent
        t = (fraction - ONE) / (fraction + ONE)
        square = t * t
        series = ONE + square * (ATANH[0] + square * (ATANH[1] + square * (ATANH[2] + square * ATANH[3])))
        x[i] = scale * (exponent * LN_2 + TWO * t * series)


@lean
def scale_exp2(x: NDArray[np.float32], ages: NDArray[np.float32], n: int, factor: Number) -> None:
    """The first `n` numbers become  x 2^(-factor age),  or 0 if the power is below 2^-64;  no age may be negative."""
    factor = np.float32(-factor)
    for i in range(n):
        fallen = factor * ages[i]
        power = max(fallen, LEAST_POWER)
        whole = np.int32(power - HALF)  # towards zero, which is to the nearest below it
        r = power - np.float32(whole)
        series = POWER[4] + r * (POWER[5] + r * POWER[6])
        series = POWER[0] + r * (POWER[1] + r * (POWER[2] + r * (POWER[3] + r * series)))
        value = series * _float(np.int32((whole + BIAS) << EXPONENT_BITS))
        x[i] *= value if fallen >= LEAST_POWER else np.float32(0)
