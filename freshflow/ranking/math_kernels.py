"""Logarithm and power of two over float32 arrays, as polynomials that compile to vector instructions.

The C library takes one number at a time, about 10 ns each, and a list has thousands of logarithms among its features.
The relative error against it is at most 4e-7, the absolute error at most 1e-7 where the result is smaller than that.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from freshflow._numba import jit_no_refcount

Scalar = float | np.float32

LN_2 = np.float32(np.log(2))
_SQRT_2 = np.float32(np.sqrt(2))
_F32_ONE, _F32_TWO, _F32_HALF = np.float32(1), np.float32(2), np.float32(0.5)
# 2 atanh(t) = 2t (1 + t^2 / 3 + t^4 / 5 + ...), for |t| up to 0.172: the term left out is below 1e-9.
ATANH_COEFFICIENTS = (np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 7), np.float32(1 / 9))
# 2^r = sum of (r ln 2)^n / n!, for |r| up to a half.
EXP2_COEFFICIENTS = tuple(
    np.float32(np.log(2) ** n / factorial) for n, factorial in enumerate((1, 1, 2, 6, 24, 120, 720))
)
EXPONENT_SHIFT, EXPONENT_BIAS, FRACTION_MASK = 23, 127, 0x007FFFFF
MIN_EXPONENT = np.float32(-64)  # below it a power is 0: products must not become subnormal, which is slow
SIMD_WIDTH = 8  # float32 numbers in a vector; the remainder of a loop takes as long, one by one


@jit_no_refcount
def round_up_to_simd_width(n: int) -> int:
    """Return the next multiple of the vector width, at least `n`: a loop over that many numbers has no remainder."""
    return (n + SIMD_WIDTH - 1) // SIMD_WIDTH * SIMD_WIDTH


@intrinsic  # type: ignore[untyped-decorator]
def _float_to_bits(typing: Any, value: Any) -> Any:
    """Return the bits of a float32 as an int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def _bits_to_float(typing: Any, bits: Any) -> Any:
    """Return the float32 with these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@jit_no_refcount
def scale_log1p(x: NDArray[np.float32], n: int, factor: Scalar, scale: Scalar) -> None:
    """Replace the first `n` numbers by  scale log(1 + factor x).

    Args:
        x: (at least n,) float32, not negative; changed in place.
        n: The number of values.
        factor: The factor of x.
        scale: The factor of the logarithm.
    """
    factor, scale = np.float32(factor), np.float32(scale)
    for i in range(n):
        value = _F32_ONE + factor * x[i]
        bits = _float_to_bits(value)
        exponent = np.float32((bits >> EXPONENT_SHIFT) - EXPONENT_BIAS)
        fraction = _bits_to_float(np.int32((bits & FRACTION_MASK) | (EXPONENT_BIAS << EXPONENT_SHIFT)))  # in 1..2
        is_above_sqrt_2 = fraction > _SQRT_2
        fraction = fraction * _F32_HALF if is_above_sqrt_2 else fraction
        exponent = exponent + _F32_ONE if is_above_sqrt_2 else exponent
        t = (fraction - _F32_ONE) / (fraction + _F32_ONE)
        square = t * t
        series = _F32_ONE + square * (
            ATANH_COEFFICIENTS[0]
            + square * (ATANH_COEFFICIENTS[1] + square * (ATANH_COEFFICIENTS[2] + square * ATANH_COEFFICIENTS[3]))
        )
        x[i] = scale * (exponent * LN_2 + _F32_TWO * t * series)


@jit_no_refcount
def scale_exp2(x: NDArray[np.float32], ages: NDArray[np.float32], n: int, factor: Scalar) -> None:
    """Replace the first `n` numbers by  x 2^(-factor age);  by 0 where the power is below 2^-64.

    Args:
        x: (at least n,) float32, changed in place.
        ages: (at least n,) float32, not negative.
        n: The number of values.
        factor: The factor of the ages.
    """
    factor = np.float32(-factor)
    for i in range(n):
        exponent = factor * ages[i]
        power = max(exponent, MIN_EXPONENT)
        integer = np.int32(power - _F32_HALF)  # truncation of a number below 0 rounds to the nearest
        r = power - np.float32(integer)
        series = EXP2_COEFFICIENTS[4] + r * (EXP2_COEFFICIENTS[5] + r * EXP2_COEFFICIENTS[6])
        series = EXP2_COEFFICIENTS[0] + r * (
            EXP2_COEFFICIENTS[1] + r * (EXP2_COEFFICIENTS[2] + r * (EXP2_COEFFICIENTS[3] + r * series))
        )
        value = series * _bits_to_float(np.int32((integer + EXPONENT_BIAS) << EXPONENT_SHIFT))
        x[i] *= value if exponent >= MIN_EXPONENT else np.float32(0)
