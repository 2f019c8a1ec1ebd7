"""NumPy's reductions: its signatures, dtypes, errors and warnings, on compiled kernels.

Arrays of some thousand elements or more go to kernels, smaller ones and what kernels do not cover
to NumPy. Either way float16, bfloat16 and float32 are accumulated in float64, and the bits are the
same for every memory layout and number of threads.
"""

from ._reduce_extrema import amax as amax
from ._reduce_extrema import amin as amin
from ._reduce_extrema import max as max
from ._reduce_extrema import min as min
from ._reduce_extrema import nanmax as nanmax
from ._reduce_extrema import nanmin as nanmin
from ._reduce_extrema import ptp as ptp
from ._reduce_mean import average as average
from ._reduce_mean import mean as mean
from ._reduce_mean import nanmean as nanmean
from ._reduce_mean import nanstd as nanstd
from ._reduce_mean import nanvar as nanvar
from ._reduce_mean import std as std
from ._reduce_mean import var as var
from ._reduce_norm import logsumexp as logsumexp
from ._reduce_norm import norm as norm
from ._reduce_scan import cumprod as cumprod
from ._reduce_scan import cumsum as cumsum
from ._reduce_scan import nancumprod as nancumprod
from ._reduce_scan import nancumsum as nancumsum
from ._reduce_sum import nanprod as nanprod
from ._reduce_sum import nansum as nansum
from ._reduce_sum import prod as prod
from ._reduce_sum import sum as sum
from ._reduce_where import all as all
from ._reduce_where import any as any
from ._reduce_where import argmax as argmax
from ._reduce_where import argmin as argmin
from ._reduce_where import count_nonzero as count_nonzero
from ._reduce_where import nanargmax as nanargmax
from ._reduce_where import nanargmin as nanargmin
