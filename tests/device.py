"""A stand-in for CuPy 14.2 whose arrays lie in main memory: for machines without a GPU.

It imitates what decides whether code written for NumPy runs on CuPy: which functions and methods there are and which arguments they
take, that no array goes from one side to the other unasked, that what NumPy gives as a number is an array of no dimensions, that
`x[i]` is a view even then, that linear algebra does not say that it failed, and how CuPy wraps a kernel's body in a loop. The
kernels' bodies are compiled by g++, without contraction, and a float that silently becomes a double is an error; all else NumPy
computes. So results are NumPy's to the last bit.

It proves no launch of a kernel, no number that a GPU computes, and nothing on speed: the tests marked `gpu` do.
What it does not know raises as if CuPy had it not; then look into CuPy, and write down here what it takes. Of NumPy's names it lacks
`nditer`, `errstate`, `block`, `vecdot`, `matvec`; ufuncs take no `where` and no `order`; `eye`, `ones` and `full` take no `like`, as
NumPy hands them on with a `device`; `ndarray` has no `__array_namespace__`.
"""

import ctypes
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from functools import cache, reduce
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from numpy.lib.mixins import NDArrayOperatorsMixin

SCALARS = (bool, int, float, complex, np.generic)

# Each function's arguments in CuPy, after those that are not given by name.
FUNCTIONS = {
    "": {
        "zeros_like": "dtype order subok shape", "empty_like": "dtype order subok shape", "ones_like": "dtype order subok shape",
        "full_like": "fill_value dtype order subok shape", "where": "x y", "pad": "pad_width mode constant_values",
        "take_along_axis": "indices axis", "put_along_axis": "indices values axis", "einsum": "optimize", "concatenate": "axis out dtype casting",
        "concat": "axis out dtype casting", "stack": "axis out dtype casting", "hstack": "dtype casting", "argwhere": "",
        "all": "axis out keepdims", "any": "axis out keepdims", "clip": "a_min a_max out", "diag": "k", "diagonal": "offset axis1 axis2",
        "outer": "b out", "array_equal": "a2 equal_nan", "copyto": "src casting where", "reshape": "newshape order copy", "broadcast_to": "shape",
        "shape": "", "array2string": "precision threshold", "sum": "axis dtype out keepdims",
    },
    "linalg": {"solve": "b", "cholesky": "", "eigh": "UPLO", "eigvalsh": "UPLO", "norm": "ord axis keepdims", "lstsq": "b rcond"},
}
# These make arrays of their own, of what is in main memory too.
CREATION = {"zeros": "dtype order", "empty": "dtype order", "ones": "dtype order", "full": "fill_value dtype order", "arange": "stop step dtype",
            "eye": "M k dtype order", "array": "dtype copy order subok ndmin blocking", "asarray": "dtype order copy blocking"}
METHODS = {
    "sum": "axis dtype out keepdims", "mean": "axis dtype out keepdims", "std": "axis dtype out ddof keepdims",
    "var": "axis dtype out ddof keepdims", "max": "axis out keepdims", "min": "axis out keepdims", "argmax": "axis out dtype keepdims",
    "all": "axis out keepdims", "any": "axis out keepdims", "cumsum": "axis dtype out", "clip": "min max out", "round": "decimals out",
    "take": "indices axis out", "repeat": "repeats axis", "view": "dtype", "astype": "dtype order casting subok copy", "copy": "order", "ravel": "order", "swapaxes": "axis1 axis2", "diagonal": "offset axis1 axis2",
}
NO_UFUNCS = {"isnat", "matvec", "spacing", "vecdot", "vecmat"}


def host(x):
    """What NumPy is to compute with; an array in main memory is refused."""
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    return type(x)(map(host, x)) if type(x) in (list, tuple) else x


def device(x):
    """What CuPy would return for it."""
    if isinstance(x, tuple):
        return tuple(map(device, x))
    return ndarray._of(np.asarray(x)) if isinstance(x, np.ndarray | np.generic) else x


def taking(names, function, name, given=1):
    """`function` on `given` arguments and those called `names`, with the errors of CuPy."""
    names = names.split()

    def call(*args, **kwargs):
        if (wrong := set(kwargs) - set(names)) or len(args) > given + len(names):
            raise TypeError(f"cupy's {name} takes {names}, got {sorted(wrong) or args}")
        result = function(*host(args), **{key: host(value) for key, value in kwargs.items()})
        return kwargs["out"] if kwargs.get("out") is not None else device(result)

    call.__name__ = name
    return call


class ndarray(NDArrayOperatorsMixin):
    __array_priority__ = 100
    __hash__ = None

    @classmethod
    def _of(cls, array):
        self = cls.__new__(cls)
        self._host = array
        return self

    dtype, shape, ndim, size = (property(lambda self, name=name: getattr(self._host, name)) for name in ("dtype", "shape", "ndim", "size"))
    nbytes, itemsize, strides, flags = (
        property(lambda self, name=name: getattr(self._host, name)) for name in ("nbytes", "itemsize", "strides", "flags"))
    T = property(lambda self: device(self._host.T))

    def __array__(self, dtype=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly.")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or ufunc.__name__ in NO_UFUNCS:
            return NotImplemented
        if wrong := set(kwargs) - {"out", "dtype", "casting"}:
            raise TypeError(f"Wrong arguments {sorted(wrong)}")
        if any(not isinstance(x, (*SCALARS, np.ndarray, ndarray)) for x in inputs):
            return NotImplemented
        if ufunc in (np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal):
            inputs = [x.item() if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in inputs]
        out = kwargs.pop("out", (None,))[0]
        return taking("out dtype casting", ufunc, ufunc.__name__, len(inputs))(*inputs, out=out, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        try:
            own = getattr(reduce(getattr, function.__module__.split(".")[1:], cupy), function.__name__)
        except AttributeError:
            return NotImplemented
        return own(*args, **kwargs) if all(issubclass(t, ndarray | np.ndarray) for t in types) else NotImplemented

    def __pow__(self, other):  # by the short cuts, as NumPy's own
        return device(self._host ** host(other))

    def __getitem__(self, index):
        index = index if isinstance(index, tuple) else (index,)
        index = tuple(i._host if isinstance(i, ndarray) else i for i in index)
        return ndarray._of(self._host[index if any(i is Ellipsis for i in index) else (*index, Ellipsis)])

    def __setitem__(self, index, value):
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self[index]  # an index that is wrong
        index = index if isinstance(index, tuple) else (index,)
        self._host[tuple(i._host if isinstance(i, ndarray) else i for i in index)] = value._host if isinstance(value, ndarray) else value

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(self._host)

    def __int__(self):
        return int(self._host)

    def __float__(self):
        return float(self._host)

    def __repr__(self):
        return repr(self._host)

    def __str__(self):
        return str(self._host)

    def __format__(self, how):
        return format(self._host, how)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return cupy.array, (self.get(order="A"),)

    def get(self, stream=None, order="C", out=None, blocking=True):
        return np.array(self._host, order=order)

    def item(self):
        return self._host.item()

    def tolist(self):
        return self._host.tolist()

    def fill(self, value):
        self[...] = value

    def reshape(self, *shape, order="C", copy=None):
        return device(self._host.reshape(*shape, order=order, copy=copy))

    def transpose(self, *axes):
        return device(self._host.transpose(*axes))


def _method(name, names):
    def call(self, *args, **kwargs):
        return taking(names, getattr(self._host, name), name, given=0)(*args, **kwargs)

    return call


for _name, _names in METHODS.items():
    setattr(ndarray, _name, _method(_name, _names))

_raises = False


@contextmanager
def errstate(*, linalg=None):
    """CuPy's own: `linalg="raise"` makes linear algebra look whether it has succeeded."""
    global _raises
    before, _raises = _raises, linalg == "raise"
    try:
        yield
    finally:
        _raises = before


def _silent(function):
    def call(a, *args, **kwargs):
        try:
            return function(a, *args, **kwargs)
        except np.linalg.LinAlgError:
            if _raises:
                raise
            return np.ones_like(args[0] if args else a)  # something that looks like a result

    return call


WRAP = r"""
#include <cmath>
#include <cstddef>
using namespace std;

class float16 {  // as cupy/float16.cuh has it: stored in half, computed in single precision
  _Float16 data_;
public:
  float16() {}
  float16(float v) : data_(static_cast<_Float16>(v)) {}
  explicit float16(bool v) : data_(static_cast<_Float16>(float(v))) {}
  explicit float16(double v) : data_(static_cast<_Float16>(v)) {}
  explicit float16(int v) : data_(static_cast<_Float16>(v)) {}
  operator float() const { return data_; }
};
inline bool isfinite(float16 x) { return isfinite(float(x)); }

struct CIndexer {
  ptrdiff_t size_, at_;
  ptrdiff_t size() const { return size_; }
  void set(ptrdiff_t i) { at_ = i; }
  ptrdiff_t get() const { return at_; }
};
template <typename T> struct CArray {
  T *data_; ptrdiff_t size_;
  ptrdiff_t size() const { return size_; }
  T &operator[](ptrdiff_t i) const { return data_[i]; }
};
#define CUPY_FOR(i, n) for (ptrdiff_t i = 0; i < (n); i++)

%s
template <typename %s> void kernel(ptrdiff_t size, void **given, ptrdiff_t *sizes) {
  %s
  CIndexer _ind = {size, 0};
  CUPY_FOR(i, _ind.size()) {
    _ind.set(i);
    %s
    %s;
  }
}
extern "C" void run_float16(ptrdiff_t size, void **given, ptrdiff_t *sizes) { kernel<float16>(size, given, sizes); }
extern "C" void run_float32(ptrdiff_t size, void **given, ptrdiff_t *sizes) { kernel<float>(size, given, sizes); }
extern "C" void run_float64(ptrdiff_t size, void **given, ptrdiff_t *sizes) { kernel<double>(size, given, sizes); }
"""
_folder = tempfile.TemporaryDirectory(prefix="kernels")


@cache
def compiled(code):
    """The library that g++ makes of a source; without it the test that needs one ends here, and no other."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ to compile the kernel")
    path = Path(_folder.name) / f"{abs(hash(code))}.so"
    command = ["g++", "-x", "c++", "-", "-std=c++17", "-O2", "-ffp-contract=off", "-Wdouble-promotion", "-Werror", "-fPIC", "-shared", "-o", str(path)]
    subprocess.run(command, input=code.encode(), check=True)
    return ctypes.CDLL(str(path))


TYPES = {"float16": "float16", "float32": "float", "float64": "double", "bool": "bool", "T": "T"}


class ElementwiseKernel:
    def __init__(self, in_params, out_params, operation, name="kernel", reduce_dims=True, preamble="", no_return=False, return_tuple=False,
                 *, options=(), loop_prep="", after_loop=""):
        split = [[parameter.split() for parameter in text.split(",")] for text in (in_params, out_params)]
        self.reads, self.operation, self.name, self.preamble = len(split[0]), operation, name, preamble
        self.parameters = [(words[-2], words[-1], words[0] == "raw") for group in split for words in group]
        self.letter = any(kind == "T" for kind, _, _ in self.parameters)
        self.in_params, self.out_params = (tuple(SimpleNamespace(name=words[-1]) for words in group) for group in split)
        if any(name == "i" for _, name, _ in self.parameters):
            raise ValueError("Can not use 'i' as a parameter name")
        if not name.isidentifier() or not all(type(option) is str for option in options):
            raise ValueError(f"Invalid kernel name or options: {name!r}, {options!r}")

    def __call__(self, *args, size=None):
        if len(args) != len(self.parameters):
            raise TypeError(f"Wrong number of arguments for {self.name!r}")
        if any(not isinstance(a, ndarray) for a in args[self.reads:]):
            raise TypeError("Output arguments type must be cupy.ndarray")
        loops = [a for a, (_, _, raw) in zip(args, self.parameters) if isinstance(a, ndarray) and not raw]
        if bool(loops) == (size is not None):
            raise ValueError("Loop size is undecided" if size is None else "Specified 'size' can be used only if all of the ndarray are 'raw'.")
        arrays = [(a, kind) for a, (kind, _, _) in zip(args, self.parameters) if isinstance(a, ndarray)]
        if any(kind not in ("T", a.dtype.name) for a, kind in arrays):
            raise TypeError("Type is mismatched.")
        sizes, dtypes = {a.size for a in loops} or {size}, {a.dtype for a, kind in arrays if kind == "T"} or {np.dtype("float32")}
        (size,), (dtype,) = sizes, dtypes
        before, within, given = [], [], []
        for at, (a, (declared, name, raw)) in enumerate(zip(args, self.parameters)):
            kind = TYPES[declared]
            const = "const " if at < self.reads else ""
            if isinstance(a, ndarray):
                whole = name if raw else f"_raw_{name}"
                before.append(f"CArray<{const}{kind}> {whole} = {{({const}{kind} *)given[{at}], sizes[{at}]}};")
                within += [] if raw else [f"{const}{kind} &{name} = _raw_{name}[_ind.get()];"]
                given.append(np.ascontiguousarray(a._host))
            else:
                before.append(f"const {kind} {name} = *(const {kind} *)given[{at}];")
                given.append(np.array(host(a), dtype if declared == "T" else declared))
        library = compiled(WRAP % (self.preamble, "T" if self.letter else "Unused", "\n  ".join(before), "\n    ".join(within), self.operation))
        run = getattr(library, f"run_{dtype}")
        run(ctypes.c_ssize_t(size), (ctypes.c_void_p * len(given))(*[a.ctypes.data for a in given]),
            (ctypes.c_ssize_t * len(given))(*[a.size for a in given]))
        for a, written in zip(args[self.reads:], given[self.reads:]):
            if written is not a._host:  # it lay otherwise than in C's order
                a._host[...] = written.reshape(a.shape)


def _module(name, functions):
    module = ModuleType(name)
    for function, names in functions.items():
        own = getattr(np.linalg if "linalg" in name else np, function)
        setattr(module, function, taking(names, _silent(own) if "linalg" in name else own, function, given=9 if function == "einsum" else 1))
    return module


def _creation(name, names):
    def call(*args, **kwargs):
        if wrong := set(kwargs) - set(names.split()):
            raise TypeError(f"cupy's {name} takes {names}, got {sorted(wrong)}")
        kwargs.pop("blocking", None)
        made = np.array(getattr(np, name)(*[a._host if isinstance(a, ndarray) else a for a in args], **kwargs), order="K")
        same = name == "asarray" and isinstance(args[0], ndarray) and made.dtype == args[0].dtype
        return args[0] if same else device(made)

    return call


cupy = _module("cupy", FUNCTIONS[""])
cupy.linalg = _module("cupy.linalg", FUNCTIONS["linalg"])
cupy.ndarray, cupy.ElementwiseKernel = ndarray, ElementwiseKernel
for _name, _names in CREATION.items():
    setattr(cupy, _name, _creation(_name, _names))
cupy.asnumpy = lambda a, stream=None, order="C", out=None, *, blocking=True: a.get(order=order) if isinstance(a, ndarray) else np.asarray(a, order=order)
cupy.get_default_memory_pool = lambda: SimpleNamespace(free_all_blocks=lambda: None)
_PROPERTIES = {"name": b"a stand-in", "totalGlobalMem": 0}
cupy.cuda = SimpleNamespace(
    is_available=lambda: True, Device=lambda: SimpleNamespace(synchronize=lambda: None),
    runtime=SimpleNamespace(getDeviceProperties=lambda number: _PROPERTIES, driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 13000))
cupy.__version__ = "14.2.0"
cupyx = ModuleType("cupyx")
cupyx.errstate = errstate
